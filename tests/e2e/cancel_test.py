"""A cancel of a job that runs is pushed to whoever runs it: nobody waits for the next renewal."""
import pathlib
import signal
import time
import unittest

import stack

KINDS = stack.broker_kinds()
# Renewals come each third of a lease: long after this suite has ended.
LEASE_MS = 900000
DEADLINE_S = 60

TRAPS = """
trap 'echo stopped > "$ARG_stopped"; exit 1' TERM
echo started > "$ARG_started"
while :; do sleep 0.05; done
"""


class Cancel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.yard.script("traps", TRAPS)
        cls.yard.start_responder()
        cls.began = time.monotonic()
        cls.yard.start_worker("intake-1", "--role", "intake", "--lease-ms", str(LEASE_MS))
        cls.yard.start_worker("run-1", "--role", "run", "--slots", "2", "--lease-ms", str(LEASE_MS))
        cls.shown = []

    @classmethod
    def tearDownClass(cls):
        stack.report("e2e.cancel", "".join(f"{line}\n" for line in cls.shown))

    def canceled(self, name, cancel):
        """A job that runs is canceled: its state, and its process, know soon."""
        started, stopped = self.yard.dir / f"{name}.started", self.yard.dir / f"{name}.stopped"
        job_id = self.yard.publish_custom(self.yard.custom_request(
            "traps", name, {"started": str(started), "stopped": str(stopped)}))
        stack.wait_until(started.exists, "it runs")
        stack.wait_until(lambda: (job := self.yard.get(job_id)) and job.HasField("training_started"), "the store knows that it runs")
        sent = time.monotonic()
        cancel(job_id)
        acknowledged = time.monotonic()
        self.yard.wait_status(job_id, stack.CANCELING, stack.CANCELED, seconds=DEADLINE_S)
        known = time.monotonic()
        stack.wait_until(stopped.exists, "the process was told to end", DEADLINE_S)
        told = time.monotonic()
        self.assertLess(told - self.began, LEASE_MS / 3000, "a renewal may have come by then: this says nothing")
        self.shown.append(f"cancel by {name}: acknowledged after {1000 * (acknowledged - sent):.0f} ms; from then the state after "
                          f"{1000 * (known - acknowledged):.0f} ms, SIGTERM after {1000 * (told - acknowledged):.0f} ms")
        self.assertEqual(self.yard.wait_end(job_id).status, stack.CANCELED)

    def test_by_kafka(self):
        ml = self.yard.messages.ml
        self.canceled("Kafka", lambda job_id: self.yard.publish(
            "cancel", job_id, self.yard.command(job_id, cancel=ml.CancelTrainingJobRequest(id=job_id))).get(30))

    def freeze(self, worker):
        stat = pathlib.Path(f"/proc/{worker.child.pid}/stat")
        self.addCleanup(worker.signal, signal.SIGCONT)
        worker.signal(signal.SIGSTOP)
        stack.wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it stands still")

    def test_by_rpc(self):
        """The responder says it itself: no intake comes to apply, and so to tell, what is on Kafka too."""
        ml = self.yard.messages.ml

        def cancel(job_id):
            self.freeze(self.yard.workers["intake-1"])
            self.yard.api.CancelTrainingJob(ml.CancelTrainingJobRequest(id=job_id), timeout=10)
        self.canceled("RPC", cancel)


if __name__ == "__main__":
    unittest.main()
