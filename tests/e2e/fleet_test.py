"""Many jobs over two workers: each runs once, both work, and the death of one loses nothing."""
import unittest

import stack

KINDS = stack.broker_kinds()

# Appends its start and its end to the witness file, each in one write, and leaves its attempt in the model.
WITNESS = """
echo "start $TRAINYARD_JOB_ID $TRAINYARD_ATTEMPT $TRAINYARD_FENCE" >> "$ARG_witness"
echo "working"
sleep "$ARG_seconds"
echo "$TRAINYARD_ATTEMPT" > "$OUTPUT/attempt"
echo "end $TRAINYARD_JOB_ID $TRAINYARD_ATTEMPT $TRAINYARD_FENCE" >> "$ARG_witness"
"""


class Fleet(unittest.TestCase):
    def setUp(self):
        self.yard = self.enterContext(stack.Stack(KINDS[0]))
        self.yard.script("witness", WITNESS)
        self.yard.start_responder()
        self.witness = self.yard.dir / "witness"
        self.witness.touch()

    def submit(self, count, seconds):
        yard = self.yard
        sent = [(f"job-{number}", yard.custom_request("witness", f"model-{number}",
                                                      {"witness": str(self.witness), "seconds": seconds}))
                for number in range(count)]
        return [yard.publish_custom(request) for _, request in sent]

    def seen(self, word):
        rows = [line.split() for line in self.witness.read_text().splitlines()]
        return [(row[1], int(row[2])) for row in rows if row[0] == word]

    @staticmethod
    def figures(worker):
        return [line for line in worker.text().splitlines() if "run.figures" in line]

    def assert_effective_once(self, ids):
        """Each job is COMPLETED, and its model is that of one attempt: the one the store says."""
        for number, job_id in enumerate(ids):
            job = self.yard.get(job_id)
            self.assertEqual(job.status, stack.COMPLETED, job)
            place = self.yard.store / "models" / stack.ORGANIZATION / f"model-{number}" / "1" / "attempt"
            stack.wait_until(place.exists, f"the model of {job_id}")
            attempt = int(place.read_text())
            self.assertIn((job_id, attempt), self.seen("end"))
            ends = [entry.message for entry in self.yard.logs(job_id) if entry.message == "working"]
            self.assertGreaterEqual(len(ends), 1)

    def test_two_workers_run_200_jobs_once_each(self):
        for name in ("worker-1", "worker-2"):
            self.yard.start_worker(name, "--slots", "4")
        ids = self.submit(200, "0")
        self.assertEqual(self.yard.wait_all_end(ids, 240), {stack.COMPLETED: 200})
        self.assertEqual(sorted(self.seen("start")), sorted((job_id, 1) for job_id in ids))
        self.assertEqual(sorted(self.seen("end")), sorted((job_id, 1) for job_id in ids))
        self.assert_effective_once(ids)
        for worker in self.yard.workers.values():
            before = len(self.figures(worker))
            worker.signal(10)  # SIGUSR1: figures
            figures = stack.wait_until(lambda: self.figures(worker)[before:], "the worker's figures")[-1]
            completed = int(figures.split(" completed=")[1].split()[0])
            self.assertGreater(completed, 20, figures)

    def test_a_worker_is_killed_with_jobs_running(self):
        for name in ("worker-1", "worker-2"):
            self.yard.start_worker(name, "--slots", "4", "--lease-ms", "4000", "--lost-lease-limit-ms", "1000")
        ids = self.submit(40, "0.3")
        stack.wait_until(lambda: len(self.seen("end")) >= 8 and len(self.seen("start")) > len(self.seen("end")),
                         "jobs are running")
        self.yard.workers["worker-1"].kill()
        # Its machine is gone, not only its process: nothing of its jobs is left either.
        for pid in self.yard.supervisors():
            import os
            import signal
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as words:
                    is_its = b"worker-1.work" in words.read()
                if is_its:
                    os.kill(pid, signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended by itself meanwhile
        self.assertEqual(self.yard.wait_all_end(ids, 240), {stack.COMPLETED: 40})
        self.assert_effective_once(ids)

    def test_a_worker_is_killed_and_its_jobs_outlive_it(self):
        """The supervisors go on without it, and the next worker over the same directory takes them up."""
        flags = ("--slots", "4", "--lease-ms", "20000")
        self.yard.start_worker("worker-1", *flags)
        ids = self.submit(4, "3")
        stack.wait_until(lambda: len(self.seen("start")) == 4, "all run")
        self.yard.workers["worker-1"].kill()
        self.yard.start_worker("worker-1", *flags)
        self.assertEqual(self.yard.wait_all_end(ids, 60), {stack.COMPLETED: 4})
        self.assertEqual(sorted(self.seen("end")), sorted((job_id, 1) for job_id in ids))
        self.assert_effective_once(ids)

    def test_a_rolling_restart_hands_jobs_back(self):
        for name in ("worker-1", "worker-2"):
            self.yard.start_worker(name, "--slots", "2", "--drain-ms", "200", "--grace-ms", "1000")
        ids = self.submit(12, "1")
        for name in ("worker-1", "worker-2"):
            before = len(self.seen("start"))
            stack.wait_until(lambda: len(self.seen("start")) >= min(before + 1, 12), "jobs are running")
            self.assertEqual(self.yard.workers[name].stop(), 0)
            self.yard.start_worker(name, "--slots", "2", "--drain-ms", "200", "--grace-ms", "1000")
        self.assertEqual(self.yard.wait_all_end(ids, 120), {stack.COMPLETED: 12})
        self.assert_effective_once(ids)
        self.assert_retired_after_90_days(ids)

    def assert_retired_after_90_days(self, ids):
        """Eleven of the jobs become 91 days old, and one 89 days."""
        redis = self.yard.redis
        for waits in ("o", "u"):  # Kafka has their ends, and the models have their names
            stack.wait_until(lambda waits=waits: redis.ask("ZCARD", "{ty:0}:" + waits) == ":0", f"{waits} is empty")
        age = """local day = 86400 * 1000000
            local now = redis.call('TIME')[1] * 1000000
            for i, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
                local at = string.format('%d', now - (i == 1 and 89 or 91) * day)
                redis.call('SETRANGE', '{ty:0}:j:' .. id, 64, struct.pack('<I8', at))
                redis.call('ZADD', KEYS[1], at, id)
            end"""
        redis.ask("EVAL", age, 1, "{ty:0}:e")
        redis.ask("HDEL", "{ty:0}:m", "swept")
        self.yard.start_worker("worker-3", "--slots", "1")
        stack.wait_until(lambda: len(self.yard.jobs()) == 1, "all but one have left")
        left = [job.id for job in self.yard.jobs()]
        self.assertEqual(sum(self.yard.get(job_id) is None for job_id in ids), 11)
        self.assertIn(left[0], ids)
        for number in range(12):
            self.assertTrue((self.yard.store / "models" / stack.ORGANIZATION / f"model-{number}" / "1" / "attempt").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
