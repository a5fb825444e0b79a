"""Failed jobs and what follows: a policy that is asked for on each road, and trainyard retry."""
import json
import unittest
import uuid

import grpc
import stack

KINDS = stack.broker_kinds()


class Retries(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.repaired = cls.yard.dir / "repaired"
        cls.yard.script("broken", f'echo "$@" | tr " " "\\n" | grep -e --note -e --epochs; [ -e {cls.repaired} ] || exit 3; '
                                  'echo model > "$OUTPUT/model"')
        cls.yard.script("third", '[ "$TRAINYARD_ATTEMPT" = 3 ] || exit 75; echo model > "$OUTPUT/model"')
        cls.yard.script("sleeps", 'echo here; exec sleep 600')
        cls.yard.start_responder()
        cls.yard.start_worker("worker-1", "--slots", "4", "--grace-ms", "1000", "--retry-base-ms", "100", "--lease-ms", "10000",
                              "--container", "shell:1", "--container", "python:3.11-sklearn")

    def setUp(self):
        self.repaired.unlink(missing_ok=True)

    def submit(self, script, *flags):
        return self.yard.cli("submit-custom", "--org", stack.ORGANIZATION, "--dataset", "empty-set", "--container", "shell:1",
                             "--script", f"test:{script}", "--model-name", f"m-{uuid.uuid4()}", *flags).stdout.strip()

    def shown(self, job_id):
        return json.loads(self.yard.cli("get", "--json", job_id).stdout)

    def options(self, job_id):
        """A job's options, as any gRPC client reads them."""
        _, call = self.yard.api.GetTrainingJob.with_call(
            self.yard.messages.ml.GetTrainingJobRequest(id=job_id), timeout=10)
        found = {key: value for key, value in call.trailing_metadata()}
        if "trainyard-options-bin" not in found:
            return found["trainyard-options-bytes"]
        return self.yard.messages.command.JobOptions.FromString(found["trainyard-options-bin"])

    def failed(self, script="broken", *flags):
        job_id = self.submit(script, *flags)
        self.assertEqual(self.yard.wait_end(job_id).status, stack.FAILED)
        return job_id

    # ---- policies

    def test_a_policy_by_the_command_line_and_by_grpc(self):
        listed = self.submit("third", "--retry-exit-code", "75")
        request = self.yard.custom_request("third", f"m-{uuid.uuid4()}")
        by_grpc = self.yard.api.SubmitCustomTrainingJob(request, timeout=10, metadata=(
            ("trainyard-retry-on-error", "true"), ("trainyard-no-retry-exit-code", "2"), ("trainyard-retry-max-ms", "200"))).id
        refused = self.submit("third", "--retry-on-error", "--no-retry-exit-code", "75")
        self.assertEqual(self.yard.wait_end(listed).status, stack.COMPLETED)
        self.assertEqual(self.yard.wait_end(by_grpc).status, stack.COMPLETED)
        self.assertEqual(self.yard.wait_end(refused).status, stack.FAILED)
        self.assertTrue(any("attempt 3 completed" in entry.message for entry in self.yard.logs(listed)))
        self.assertFalse(any("attempt 2" in entry.message for entry in self.yard.logs(refused)))

    def test_follow_goes_through_all_attempts(self):
        done = self.yard.cli("submit-custom", "--org", stack.ORGANIZATION, "--dataset", "empty-set", "--container", "shell:1",
                             "--script", "test:third", "--model-name", f"m-{uuid.uuid4()}", "--retry-on-error", "--follow",
                             "--retry-base-ms", "1500")
        for attempt in (1, 2, 3):
            self.assertIn(f"attempt {attempt} claimed", done.stderr)
        self.assertIn("the job ended COMPLETED", done.stderr)

    def test_a_policy_that_makes_no_sense_is_refused(self):
        with self.assertRaises(grpc.RpcError) as refused:
            self.yard.api.SubmitCustomTrainingJob(self.yard.custom_request("third", "m"), timeout=10, metadata=(
                ("trainyard-no-retry-exit-code", "2"),))
        self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("on_error", refused.exception.details())

    # ---- a wait that has a limit

    def test_a_job_that_no_worker_takes_in_time_fails(self):
        words = ("submit-custom", "--org", stack.ORGANIZATION, "--dataset", "empty-set", "--container", "null:1",  # no worker serves it
                 "--script", "test:broken", "--model-name", f"m-{uuid.uuid4()}")
        patient = self.yard.cli(*words, "--max-wait", "3600").stdout.strip()
        done = self.yard.cli(*words, "--max-wait", "1", "--wait", "--json", check=False)
        self.assertEqual(done.returncode, 10, done.stderr)
        late = json.loads(done.stdout)["job"]
        self.assertEqual((late["status"], late["error_status"]["code"], late["error_status"]["message"]),
                         ("FAILED", 4, "waited 1 s for a worker, as long as max_wait allows"))
        shown = self.shown(late["id"])
        self.assertEqual((shown["reason"], shown["attempt"], shown["wait_until"]), ("wait_limit", 0, None))
        self.assertIn("wait_limit", self.yard.cli("history", late["id"]).stdout)
        stack.wait_until(lambda: self.yard.get(patient), "the other one is there")
        shown = self.shown(patient)
        self.assertEqual((shown["status"], shown["pending"]["reason"]), ("PENDING", "queued"))
        self.assertIsNotNone(shown["wait_until"])
        self.assertIn("Waits until", self.yard.cli("get", patient).stdout)
        again = self.yard.cli("retry", "--wait", late["id"], check=False)
        self.assertEqual(again.returncode, 10, again.stderr)
        self.assertIn("waited 1 s for a worker", again.stderr)
        self.assertNotEqual(again.stdout.strip(), late["id"])
        self.yard.cli("cancel", patient)
        self.assertEqual(self.yard.wait_end(patient).status, stack.CANCELED)

    # ---- trainyard retry

    def test_a_failed_job_is_done_again_as_it_was(self):
        old = self.failed("broken", "--arg", "note=a=b", "--arg", "epochs=3", "--priority", "2", "--label", "team=vision",
                          "--max-attempts", "2", "--retry-on-error", "--retry-exit-code", "127", "--retry-max-ms", "300",
                          "--memory-bytes", "1000", "--idempotency-key", f"key-{uuid.uuid4()}")
        self.repaired.touch()
        done = self.yard.cli("retry", "--wait", old)
        new = done.stdout.strip()
        self.assertNotEqual(new, old)
        before, after = self.shown(old), self.shown(new)
        self.assertEqual(after["status"], "COMPLETED")
        self.assertEqual(after["retry_of"], old)
        self.assertIsNone(before["retry_of"])
        self.assertIn(f"Retry of      {old}\n", self.yard.cli("get", new).stdout)
        changed = {name for name in before if before[name] != after[name]}
        self.assertEqual(changed, {"id", "status", "retry_of", "error_status", "synced_model_id", "created_on", "last_modified",
                                   "training_started", "training_ended", "attempt", "errors", "reason", "stage"})
        asked, again = self.options(old), self.options(new)
        self.assertEqual(again.idempotency_key, f"retry:{old}")
        for options in (asked, again):
            options.idempotency_key = options.retry_of = ""
        self.assertEqual(asked, again)
        self.assertEqual(asked.retry.exit_codes, [127])
        words = [entry.message for entry in self.yard.logs(new)]
        self.assertIn("--note=a=b", words)
        self.assertIn("--epochs=3", words)

    def test_the_same_call_again_is_the_same_job(self):
        old = self.failed()
        first = self.yard.cli("retry", old).stdout.strip()
        self.assertEqual(self.yard.wait_end(first).status, stack.FAILED)
        again = self.yard.cli("retry", old)
        self.assertEqual(again.stdout.strip(), first)
        self.assertIn(f"job {first} was made by this key before, and is FAILED; retry that one, or give another --key", again.stderr)
        other = self.yard.cli("retry", "--key", f"other-{old}", old).stdout.strip()
        chained = self.yard.cli("retry", first).stdout.strip()
        self.assertEqual(len({old, first, other, chained}), 4)
        self.assertEqual(self.yard.wait_end(other).status, stack.FAILED)
        self.assertEqual(self.shown(other)["retry_of"], old)
        self.assertEqual(self.shown(chained)["retry_of"], first)
        self.yard.wait_end(chained)
        self.assertEqual(self.yard.get(first).status, stack.FAILED)

    def test_a_canceled_job_may_be_retried_and_others_not(self):
        self.repaired.touch()
        completed = self.submit("broken")
        running = self.submit("sleeps")
        self.yard.wait_end(completed)
        stack.wait_until(lambda: any(entry.message == "here" for entry in self.yard.logs(running))
                         if self.yard.get(running) else False, "the job runs")
        for job_id, status in ((completed, "COMPLETED"), (running, "IN_PROGRESS")):
            refused = self.yard.cli("retry", job_id, check=False)
            self.assertEqual(refused.returncode, 6)
            self.assertIn(f"the job is {status}; only one that is FAILED or CANCELED can be retried", refused.stderr)
            self.assertEqual(refused.stdout, "")
        self.yard.wait_whole()
        self.assertEqual(self.yard.cli("retry", str(uuid.uuid4()), check=False).returncode, 4)
        self.yard.cli("cancel", running)
        self.assertEqual(self.yard.wait_end(running).status, stack.CANCELED)
        again = self.yard.cli("retry", running).stdout.strip()
        stack.wait_until(lambda: self.yard.get(again), "the retry is there")
        self.yard.cli("cancel", again)
        self.assertEqual(self.yard.wait_end(again).status, stack.CANCELED)

    def test_a_managed_job_is_done_again_too(self):
        old = self.yard.cli("submit", "--org", stack.ORGANIZATION, "--dataset", "no-such-set", "--model-type",
                            "single-label-classification", "--tag", "zero or one", "--tag", "two", "--model-name",
                            f"m-{uuid.uuid4()}").stdout.strip()
        self.assertEqual(self.yard.wait_end(old).status, stack.FAILED)
        new = self.yard.cli("retry", old).stdout.strip()
        self.assertEqual(self.yard.wait_end(new).status, stack.FAILED)
        before, after = self.shown(old), self.shown(new)
        self.assertEqual(after["retry_of"], old)
        for name in ("dataset_id", "model_name", "model_version", "model_type", "model_framework", "tags", "is_custom_job"):
            self.assertEqual(before[name], after[name])
        self.assertEqual(after["tags"], ["zero or one", "two"])

    def test_options_that_are_too_large_are_not_forgotten(self):
        flags = [word for n in range(32) for word in ("--label", f"label-{n}={'x' * 200}")]
        old = self.failed("broken", *flags)
        self.assertGreater(int(self.options(old)), 4096)
        refused = self.yard.cli("retry", old, check=False)
        self.assertEqual(refused.returncode, 6)
        self.assertIn("more than the responder tells", refused.stderr)


class WaitLimit(unittest.TestCase):
    def test_the_end_is_the_same_when_the_store_goes_back_or_is_lost(self):
        yard = self.enterContext(stack.Stack(KINDS[0]))
        yard.start_responder()
        yard.start_worker("worker-1", "--lease-ms", "2000", "--container", "shell:1")

        def submit(seconds):
            job_id = yard.cli("submit-custom", "--org", stack.ORGANIZATION, "--dataset", "empty-set", "--container", "null:1",
                              "--script", "test:any", "--model-name", f"m-{uuid.uuid4()}", "--max-wait", seconds).stdout.strip()
            stack.wait_until(lambda: yard.get(job_id), "the job is there")
            return job_id

        def check(*ids):
            for job_id in ids:
                self.assertEqual(yard.wait_end(job_id).status, stack.FAILED)
                shown = json.loads(yard.cli("get", "--json", job_id).stdout)
                self.assertEqual((shown["reason"], shown["attempt"], shown["error_status"]["code"]), ("wait_limit", 0, 4))
        known = submit("1")
        lost = submit("5")
        check(known)
        snapshot = yard.redis.snapshot()
        check(lost)
        yard.redis.restore(snapshot)
        yard.start_worker("worker-2", "--lease-ms", "2000", "--container", "null:1")  # it would take them
        check(known, lost)
        open_end = submit("3600")
        self.assertEqual(yard.wait_end(open_end).status, stack.COMPLETED)
        yard.redis.ask("FLUSHALL")
        stack.wait_until(lambda: yard.get(lost) and yard.get(known) and yard.get(open_end), "they are back")
        check(known, lost)
        self.assertEqual(yard.wait_end(open_end).status, stack.COMPLETED)


if __name__ == "__main__":
    unittest.main(verbosity=2)
