"""Redis comes to the end of its memory: new jobs and log lines wait, what frees memory goes on, and nothing is lost."""
import re
import unittest

import grpc

import stack

KINDS = stack.broker_kinds()

WAITS = """
echo "before"
while [ ! -e "$ARG_go" ]; do sleep 0.05; done
i=0; while [ $i -lt 200 ]; do echo "line $i"; i=$((i+1)); done
echo "done" > "$OUTPUT/model"
"""


class StoreFull(unittest.TestCase):
    def setUp(self):
        self.yard = self.enterContext(stack.Stack(KINDS[0]))
        # So that a few percent are more than what a script takes when it is loaded, or a connection.
        self.assertEqual(self.yard.redis.ask("SETRANGE", "ballast", 32 * 1024 * 1024 - 1, "x"), f":{32 * 1024 * 1024}")
        self.yard.script("waits", WAITS)
        self.yard.start_responder()
        self.worker = self.yard.start_worker("worker-1", "--slots", "2", "--lease-ms", "20000")
        self.number = 0

    def request(self, go="go"):
        self.number += 1
        return self.yard.custom_request("waits", f"model-{self.number}", {"go": str(self.yard.dir / go)})

    def submit_rpc(self):
        return self.yard.api.SubmitCustomTrainingJob(self.request(), timeout=10).id

    def fill_to(self, percent):
        """Sets the limit so that what is used now is that much of it. 0: no limit."""
        text = self.yard.redis.info("memory")
        used = int(re.search(r"\bused_memory:(\d+)", text)[1]) - int(re.search(r"mem_not_counted_for_evict:(\d+)", text)[1])
        self.assertEqual(self.yard.redis.ask("CONFIG", "SET", "maxmemory", used * 100 // percent if percent else 0), "+OK")

    def await_word(self, word, process=None):
        process = process or self.worker
        stack.wait_until(lambda: word in process.text(), lambda: f"{word} is said:\n{process.tail()}")

    def trains(self, job_id):
        stack.wait_until(lambda: (job := self.yard.get(job_id)) and job.HasField("training_started"), f"{job_id} trains")

    def test_submits_wait_and_come_in_when_there_is_room(self):
        first = self.submit_rpc()
        self.trains(first)
        self.fill_to(79)
        self.await_word("state=held")
        self.await_word("store.memory", self.yard.responder)
        with self.assertRaises(grpc.RpcError) as caught:
            self.submit_rpc()
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn("nearly full", caught.exception.details())
        waiting = [self.yard.publish_custom(self.request("now")) for _ in range(20)]
        # What frees memory goes on: a cancel by Kafka passes the submits that wait.
        self.yard.cli("cancel", first)
        self.yard.wait_status(first, stack.CANCELED)
        self.assertTrue(all(self.yard.get(job_id) is None for job_id in waiting))
        (self.yard.dir / "now").touch()
        self.fill_to(20)
        self.assertEqual(self.yard.wait_all_end(waiting, 120), {stack.COMPLETED: 20})
        self.trains(self.submit_rpc())

    def test_logs_are_left_out_visibly(self):
        job_id = self.submit_rpc()
        self.trains(job_id)
        stack.wait_until(lambda: any(entry.message == "before" for entry in self.yard.logs(job_id)), "the first line is there")
        self.fill_to(90)
        self.await_word("logs=wait")
        (self.yard.dir / "go").touch()
        self.assertEqual(self.yard.wait_end(job_id).status, stack.COMPLETED)
        lines = [entry.message for entry in self.yard.logs(job_id)]
        self.assertIn("before", lines)
        left_out = [re.match(r"(\d+) lines are left out here: the job store was nearly full", line) for line in lines]
        count = [int(found[1]) for found in left_out if found]
        self.assertEqual(len(count), 1, lines)
        self.assertGreaterEqual(count[0], 200)
        self.assertFalse(any(line.startswith("line ") for line in lines))
        self.assertIn("completed", lines[-1])

    def test_a_store_that_is_full_lets_jobs_end(self):
        running, canceled, pending = self.submit_rpc(), self.submit_rpc(), self.submit_rpc()
        for job_id in (running, canceled):
            self.trains(job_id)
        self.yard.wait_status(pending, stack.PENDING)
        ml = self.yard.messages.ml
        self.fill_to(130)  # more is used than there is
        self.assertIn("OOM", self.yard.redis.ask("SET", "any", "thing"))
        self.yard.api.CancelTrainingJob(ml.CancelTrainingJobRequest(id=pending), timeout=10)
        self.yard.wait_status(pending, stack.CANCELED)
        self.yard.api.DeleteCompletedTrainingJob(ml.DeleteCompletedTrainingJobRequest(id=pending), timeout=10)
        stack.wait_until(lambda: self.yard.get(pending) is None, "it is gone")
        self.yard.api.CancelTrainingJob(ml.CancelTrainingJobRequest(id=canceled), timeout=10)
        self.yard.wait_status(canceled, stack.CANCELED)
        (self.yard.dir / "go").touch()
        self.assertEqual(self.yard.wait_end(running, 120).status, stack.COMPLETED)

    def test_a_store_that_would_lose_jobs_is_refused(self):
        self.yard.redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        stack.wait_until(lambda: not self.worker.alive(), "the worker ends")
        self.assertIn("noeviction", self.worker.text())
        self.await_word("noeviction", self.yard.responder)


if __name__ == "__main__":
    unittest.main(verbosity=2)
