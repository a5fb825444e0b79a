"""Redis goes back in time or loses everything: it is brought back from Kafka, and clients see no difference."""
import unittest
import uuid

import grpc

import stack

KINDS = stack.broker_kinds()

WAITS = """
echo "start $TRAINYARD_JOB_ID $TRAINYARD_ATTEMPT $TRAINYARD_FENCE" >> "$ARG_witness"
echo "round 1/2"
while [ ! -e "$ARG_go" ]; do sleep 0.05; done
echo "done" > "$OUTPUT/model"
echo "end $TRAINYARD_JOB_ID $TRAINYARD_ATTEMPT $TRAINYARD_FENCE" >> "$ARG_witness"
"""
# Whoever runs a job says so again after the store is back: a change of its own, with which its history may go on. Progress is in
# Redis only. Nothing else may differ.
MAY_DIFFER_WHILE_RUNNING = ("last_modified",)
LOST_WITH_REDIS = ("progress",)


class Rebuild(unittest.TestCase):
    def setUp(self):
        self.yard = self.enterContext(stack.Stack(KINDS[0]))
        self.yard.script("waits", WAITS)
        self.yard.script("fails", "echo no; exit 3\n")
        self.witness = self.yard.dir / "witness"
        self.witness.touch()
        self.yard.start_responder()
        self.jobs_api = self.yard.messages.job_service_grpc.JobServiceStub(self.yard.channel)
        self.start_worker()
        self.number = 0

    def start_worker(self, *flags):
        return self.yard.start_worker("worker-1", "--slots", "4", "--lease-ms", "20000", *flags)

    def submit(self, script="waits", go="go", **more):
        self.number += 1
        return self.yard.publish_custom(self.yard.custom_request(
            script, f"model-{self.number}", {"witness": str(self.witness), "go": str(self.yard.dir / go)}), **more)

    def trains(self, job_id):
        stack.wait_until(lambda: (job := self.yard.get(job_id)) and job.HasField("training_started"), f"{job_id} trains")

    def seen(self, word, job_id):
        return [line for line in self.witness.read_text().splitlines() if line.split()[:2] == [word, job_id]]

    def cancel(self, job_id):
        ml = self.yard.messages.ml
        self.yard.api.CancelTrainingJob(ml.CancelTrainingJobRequest(id=job_id), timeout=10)

    def delete(self, job_id):
        ml = self.yard.messages.ml
        self.yard.api.DeleteCompletedTrainingJob(ml.DeleteCompletedTrainingJobRequest(id=job_id), timeout=10)

    def jobs_of_all_states(self):
        """Names to ids of jobs that stay as they are: what runs waits for the file "go"."""
        (self.yard.dir / "now").touch()
        ids = {name: self.submit(go="now") for name in ("completed", "deleted")}
        ids["failed"] = self.submit(script="fails")
        for name in ("completed", "deleted", "failed"):
            self.yard.wait_end(ids[name])
        self.delete(ids["deleted"])
        ids["running"] = self.submit()
        ids["running-2"] = self.submit()
        for name in ("running", "running-2"):
            stack.wait_until(lambda name=name: self.seen("start", ids[name]), f"{name} runs")
            self.trains(ids[name])
        ids["fill-1"], ids["fill-2"] = self.submit(), self.submit()
        for name in ("fill-1", "fill-2"):
            self.trains(ids[name])
        ids["pending"] = self.submit()
        ids["canceled"] = self.submit()
        self.yard.wait_status(ids["canceled"], stack.PENDING)
        self.cancel(ids["canceled"])
        self.yard.wait_status(ids["canceled"], stack.CANCELED)
        self.yard.wait_status(ids["pending"], stack.PENDING)
        self.published()
        return ids

    def published(self):
        stack.wait_until(lambda: self.yard.redis.ask("ZCARD", "{ty:0}:o") == ":0", "Kafka has every event")

    def replays(self):
        return sum("events.replayed" in line and "restored=0" not in line
                   for line in self.yard.workers["worker-1"].text().splitlines())

    def answers(self, ids):
        """What each service says: of each job its Get and its place in List; the list's order; of each job our own Get, with its
        history, and its place in our own list."""
        jobs = {job.id: job for job in self.yard.jobs()}
        ours = self.ours()
        return ({name: (self.yard.get(job_id), jobs.get(job_id)) for name, job_id in ids.items()}, [job.id for job in self.yard.jobs()],
                {name: (self.our_get(job_id), ours.get(job_id)) for name, job_id in ids.items()})

    def ours(self):
        """JobService.ListJobs, all pages: ids to jobs, in its order."""
        messages, found, token = self.yard.messages.job_service, {}, ""
        while True:
            page = self.jobs_api.ListJobs(messages.ListJobsRequest(organization_id=stack.ORGANIZATION, limit=1000, page_token=token),
                                          timeout=10)
            found.update((job.metadata.id, job) for job in page.jobs)
            token = page.next_page_token
            if not token:
                return found

    def our_get(self, job_id):
        try:
            return self.jobs_api.GetJob(self.yard.messages.job_service.GetJobRequest(id=job_id), timeout=10)
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)
            return None

    def assert_ours_same(self, name, before, after, may_differ):
        """A GetJobReply, or a Job of a list."""
        if before is None or after is None:
            self.assertEqual(before, after, name)
            return
        old, new = type(before).FromString(before.SerializeToString()), type(after).FromString(after.SerializeToString())
        is_reply = hasattr(old, "history")
        job = old.job if is_reply else old
        for field in may_differ if is_reply else ():
            old.ClearField(field)
            new.ClearField(field)
        if job.metadata.status == stack.IN_PROGRESS:
            for field in MAY_DIFFER_WHILE_RUNNING:
                job.metadata.ClearField(field)
                (new.job if is_reply else new).metadata.ClearField(field)
            if is_reply:
                self.assertEqual(list(old.history), list(new.history)[:len(old.history)], name)
                for change in list(new.history)[len(old.history):]:
                    self.assertEqual((change.status, change.attempt), (stack.IN_PROGRESS, job.attempt), name)
                old.ClearField("history")
                new.ClearField("history")
        if is_reply and new.wait.reason == "store_rebuild":  # for a lease nothing starts
            new.wait.reason = old.wait.reason
        self.assertEqual(old, new, name)

    def assert_same(self, before, after, may_differ=()):
        self.assertEqual(before[1], after[1], "the list's order")
        for name, pair in before[2].items():
            for old, new in zip(pair, after[2][name]):
                self.assert_ours_same(name, old, new, may_differ)
        for name, pair in before[0].items():
            for old, new in zip(pair, after[0][name]):
                if old is None:
                    self.assertIsNone(new, name)
                    continue
                self.assertIsNotNone(new, name)
                if old.status == stack.IN_PROGRESS:
                    for field in MAY_DIFFER_WHILE_RUNNING:
                        old.ClearField(field)
                        new.ClearField(field)
                self.assertEqual(old.SerializeToString(deterministic=True), new.SerializeToString(deterministic=True), name)

    def assert_ends_well(self, ids):
        (self.yard.dir / "go").touch()
        for name in ("running", "running-2", "fill-1", "fill-2", "pending"):
            self.assertEqual(self.yard.wait_end(ids[name]).status, stack.COMPLETED, name)
            self.assertEqual(len(self.seen("start", ids[name])), 1, name)
            self.assertEqual(self.seen("end", ids[name])[0].split()[2], "1", "the same attempt")
        for number in range(1, self.number + 1):
            place = self.yard.store / "models" / stack.ORGANIZATION / f"model-{number}" / "1"
            ended = number not in (3, self.number)  # the failed and the canceled one
            if ended:
                stack.wait_until(place.exists, f"model {number}")

    def test_a_flush_changes_nothing_for_clients(self):
        ids = self.jobs_of_all_states()
        stack.wait_until(lambda: self.our_get(ids["completed"]).progress.step == 1, "what it told of its progress")
        before = self.answers(ids)
        self.yard.redis.ask("FLUSHALL")
        unknown = str(uuid.uuid4())
        stack.wait_until(lambda: self.replays() > 0, "the store was made again")
        self.yard.wait_whole()
        self.published()
        self.assert_same(before, self.answers(ids), LOST_WITH_REDIS)
        self.assertFalse(self.our_get(ids["completed"]).HasField("progress"), "it is lost, as docs/operating.md says")
        self.assertIsNone(self.yard.get(unknown))
        self.assert_ends_well(ids)
        # The same submit again is known, and a deleted job stays deleted.
        self.assertIsNone(self.yard.get(ids["deleted"]))

    def test_twice_and_by_hand(self):
        ids = self.jobs_of_all_states()
        before = self.answers(ids)
        for _ in range(2):
            done = self.yard.cli("rebuild", "--redis", self.yard.redis.url)
            self.assertIn("all that the events say", done.stdout)
            self.assert_same(before, self.answers(ids))
        self.assertEqual(self.replays(), 0, "it changed nothing")
        self.assert_ends_well(ids)

    def test_the_worker_dies_while_it_rebuilds(self):
        ids = self.jobs_of_all_states()
        many = [self.submit() for _ in range(1500)]
        stack.wait_until(lambda: self.yard.redis.ask("ZCARD", "{ty:0}:s:1:" + stack.ORGANIZATION) == f":{len(many) + 1}",
                         "all are there")
        self.published()
        before = self.answers(ids)
        self.yard.workers["worker-1"].kill()
        self.yard.redis.ask("FLUSHALL")
        self.start_worker()
        stack.wait_until(lambda: int(self.yard.redis.ask("HLEN", "{ty:0}:w")[1:]) > 0 or self.replays(), "it has begun")
        self.yard.workers["worker-1"].kill()
        self.start_worker()
        self.yard.wait_whole()
        stack.wait_until(lambda: self.yard.redis.ask("ZCARD", "{ty:0}:s:1:" + stack.ORGANIZATION) == f":{len(many) + 1}",
                         "all are there again")
        self.published()
        after = self.answers(ids)
        self.assertEqual(sorted(before[1]), sorted(after[1]))
        self.assert_same((before[0], [], before[2]), (after[0], [], after[2]), LOST_WITH_REDIS)

    def test_a_snapshot_with_jobs_that_ended_were_claimed_and_deleted_since(self):
        (self.yard.dir / "now").touch()
        ended, removed = self.submit(go="then"), self.submit(go="now")
        self.yard.wait_end(removed)
        stack.wait_until(lambda: self.seen("start", ended), "it runs")
        snapshot = self.yard.redis.snapshot()
        (self.yard.dir / "then").touch()
        self.assertEqual(self.yard.wait_end(ended).status, stack.COMPLETED)
        self.delete(removed)
        claimed = self.submit()
        stack.wait_until(lambda: self.seen("start", claimed), "it runs")
        self.trains(claimed)
        self.published()
        was = self.yard.get(ended)
        self.yard.redis.restore(snapshot)
        stack.wait_until(lambda: self.replays() > 0, "the store was brought forward")
        self.assertEqual(self.yard.wait_end(ended).SerializeToString(deterministic=True), was.SerializeToString(deterministic=True))
        stack.wait_until(lambda: self.yard.get(removed) is None, "it stays deleted")
        self.assertEqual(self.yard.wait_status(claimed, stack.IN_PROGRESS).status, stack.IN_PROGRESS)
        (self.yard.dir / "go").touch()
        self.assertEqual(self.yard.wait_end(claimed).status, stack.COMPLETED)
        self.assertEqual(len(self.seen("start", claimed)), 1)
        self.assertEqual(len(self.seen("start", ended)), 1)

    def test_a_job_of_a_lost_machine_does_not_run_again(self):
        """Responder and worker are back on an empty Redis before the intake is, and a client asks again for what has ended."""
        ml = self.yard.messages.ml
        (self.yard.dir / "now").touch()
        request = self.yard.custom_request("waits", "once", {"witness": str(self.witness), "go": str(self.yard.dir / "now")})

        def submit():
            return self.yard.api.SubmitCustomTrainingJob(request, timeout=10, metadata=(("idempotency-key", "once"),)).id

        def code_of(call):
            with self.assertRaises(grpc.RpcError) as caught:
                call()
            return caught.exception.code()

        stack.wait_until(lambda: self.yard.redis.ask("HGET", "{ty:0}:m", "replay") == "done", "the new store is trusted")
        job_id = submit()
        self.yard.wait_end(job_id)
        self.published()
        self.yard.workers["worker-1"].stop()
        self.yard.responder.stop()
        self.yard.redis.ask("FLUSHALL")
        self.yard.start_worker("worker-2", "--role", "run", "--slots", "4")
        self.yard.start_responder()
        for call in (submit, lambda: self.yard.api.GetTrainingJob(ml.GetTrainingJobRequest(id=job_id), timeout=10)):
            self.assertEqual(code_of(call), grpc.StatusCode.UNAVAILABLE)
        # Also what comes by another way than a responder that asks first.
        self.yard.publish_custom(request, self.yard.messages.command.JobOptions(idempotency_key="once"), job_id)
        self.start_worker("--role", "intake")
        self.assertEqual(self.yard.wait_end(job_id).status, stack.COMPLETED)
        later = self.submit(go="now")
        self.assertEqual(self.yard.wait_end(later).status, stack.COMPLETED)
        self.assertEqual(submit(), job_id)
        self.assertEqual(len(self.seen("start", job_id)), 1)

    def test_an_empty_store_says_that_it_waits(self):
        (self.yard.dir / "now").touch()
        job_id = self.submit(go="now")
        self.yard.wait_end(job_id)
        self.published()
        self.yard.workers["worker-1"].stop()
        self.yard.redis.ask("FLUSHALL")
        self.start_worker("--rebuild", "manual")
        stack.wait_until(lambda: "events.rebuild_needed" in self.yard.workers["worker-1"].text(), "it says so")
        with self.assertRaises(grpc.RpcError) as caught:
            self.yard.api.GetTrainingJob(self.yard.messages.ml.GetTrainingJobRequest(id=str(uuid.uuid4())), timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.yard.cli("rebuild", "--redis", self.yard.redis.url)
        self.assertEqual(self.yard.wait_end(job_id).status, stack.COMPLETED)
        self.assertEqual(len(self.seen("start", job_id)), 1)


if __name__ == "__main__":
    unittest.main()
