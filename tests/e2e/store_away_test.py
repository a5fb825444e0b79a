"""The store goes away, or comes back as it was a while ago; jobs and commands do not care."""
import time
import unittest

import stack

KINDS = stack.broker_kinds()
LEASE_MS = 10000
AWAY_SECONDS = 60

UNTIL_TOLD = """
echo started
while [ ! -e "$ARG_go" ]; do sleep 0.1; done
echo finished
echo done > "$OUTPUT/model"
echo "$TRAINYARD_JOB_ID $TRAINYARD_ATTEMPT" >> "$ARG_witness"
"""


class StoreAway(unittest.TestCase):
    def setUp(self):
        self.yard = self.enterContext(stack.Stack(KINDS[0]))
        self.yard.script("until-told", UNTIL_TOLD)
        self.yard.start_responder()
        self.go, self.witness = self.yard.dir / "go", self.yard.dir / "witness"
        self.witness.touch()

    def submit(self, name):
        return self.yard.publish_custom(self.yard.custom_request(
            "until-told", name, {"go": str(self.go), "witness": str(self.witness)}))

    def test_redis_is_away_for_six_leases(self):
        """Jobs that run meanwhile, one that ends meanwhile, and two workers that must not take them from each other."""
        for name in ("worker-1", "worker-2"):
            self.yard.start_worker(name, "--slots", "2", "--lease-ms", str(LEASE_MS))
        ids = [self.submit(f"model-{number}") for number in range(4)]
        for job_id in ids:
            self.yard.wait_status(job_id, stack.IN_PROGRESS)
        stack.wait_until(lambda: all(any(entry.message == "started" for entry in self.yard.logs(job_id))
                                     for job_id in ids), "all have started")
        self.yard.redis.stop()
        back = time.monotonic() + AWAY_SECONDS
        stack.wait_until(lambda: time.monotonic() > back - AWAY_SECONDS / 2, "half of the time", AWAY_SECONDS)
        self.go.touch()  # they end while nobody can be told
        stack.wait_until(lambda: len(self.witness.read_text().splitlines()) == 4, "the jobs end without the store")
        stack.wait_until(lambda: time.monotonic() > back, "the time is over", AWAY_SECONDS)
        self.yard.redis.start()
        self.assertEqual(self.yard.wait_all_end(ids, 60), {stack.COMPLETED: 4})
        for job_id in ids:
            self.assertEqual([entry.message for entry in self.yard.logs(job_id)
                              if entry.message in ("started", "finished")], ["started", "finished"])
        # Each ran once, in its first attempt.
        self.assertEqual(sorted(self.witness.read_text().split("\n")[:-1]), sorted(f"{job_id} 1" for job_id in ids))

    def test_redis_goes_back_ten_seconds(self):
        """Commands that came after the snapshot come back by themselves, and so do the jobs that ran meanwhile."""
        ml = self.yard.messages.ml
        self.yard.start_worker("worker-1", "--slots", "2", "--lease-ms", str(LEASE_MS))
        before = self.submit("before")
        self.yard.wait_status(before, stack.IN_PROGRESS)
        snapshot = self.yard.redis.snapshot()
        taken = time.monotonic()
        after = [self.submit(f"after-{number}") for number in range(8)]
        for job_id in after:
            self.yard.wait_status(job_id, stack.PENDING, stack.IN_PROGRESS)
        canceled = after.pop()
        self.yard.publish("cancel", canceled,
                          self.yard.command(canceled, cancel=ml.CancelTrainingJobRequest(id=canceled))).get(30)
        self.yard.wait_status(canceled, stack.CANCELED)
        stack.wait_until(lambda: time.monotonic() - taken > 10, "the snapshot is ten seconds old")
        self.yard.redis.restore(snapshot)
        for job_id in [*after, canceled]:
            stack.wait_until(lambda: self.yard.get(job_id), f"job {job_id} comes back")
        self.go.touch()
        self.assertEqual(self.yard.wait_all_end([before, *after], 120), {stack.COMPLETED: 8})
        self.assertEqual(self.yard.wait_end(canceled).status, stack.CANCELED)
        self.assertEqual(self.yard.wait_end(before).status, stack.COMPLETED)

    def test_redis_comes_back_empty(self):
        self.yard.start_worker("worker-1", "--slots", "2", "--lease-ms", str(LEASE_MS))
        running = self.submit("running")
        self.yard.wait_status(running, stack.IN_PROGRESS)
        waiting = [self.submit(f"waiting-{number}") for number in range(4)]
        for job_id in waiting:
            self.yard.wait_status(job_id, stack.PENDING, stack.IN_PROGRESS)
        self.yard.redis.ask("FLUSHALL")
        for job_id in [running, *waiting]:
            stack.wait_until(lambda: self.yard.get(job_id), f"job {job_id} comes back")
        self.go.touch()
        self.assertEqual(self.yard.wait_all_end([running, *waiting], 60), {stack.COMPLETED: 5})


if __name__ == "__main__":
    unittest.main(verbosity=2)
