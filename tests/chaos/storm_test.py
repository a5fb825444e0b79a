"""A storm of rebalances: intakes die and come back at random while a foreign client publishes, and every job is there once.

Sizes come from the environment, as tests/chaos/CMakeLists.txt sets them: STORM_SUBMITS, STORM_RESTARTS. STORM_SEED repeats
the restarts of another run.
"""
import os
import pathlib
import random
import signal
import sys
import threading
import time
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import resp  # noqa: E402
import stack  # noqa: E402

SUBMITS = int(os.environ.get("STORM_SUBMITS", "5000"))
RESTARTS = int(os.environ.get("STORM_RESTARTS", "16"))
SEED = int(os.environ.get("STORM_SEED") or random.SystemRandom().randrange(1 << 32))
WORKERS = 8
PARTITIONS = 32
PAUSE_SECONDS = (0.3, 2.5)  # between restarts: shorter and longer than a rebalance
SETTLE_SECONDS = 120 + SUBMITS // 500
RECORD_VERSION = slice(32, 40)


class Publisher(threading.Thread):
    """Publishes evenly over the storm; `failure` is what went wrong."""

    def __init__(self, yard, ids):
        super().__init__(daemon=True)
        from confluent_kafka import Producer
        self.yard, self.ids = yard, ids
        self.allowed = 0  # as many may have gone out by now
        self.acknowledged = 0
        self.failure = None
        self.changed = threading.Condition()
        self.producer = Producer({"bootstrap.servers": yard.broker.address, "enable.idempotence": True, "linger.ms": 5})

    def allow(self, count):
        with self.changed:
            self.allowed = count
            self.changed.notify()

    def _on_delivery(self, error, _message):
        if error:
            self.failure = str(error)
        else:
            self.acknowledged += 1

    def run(self):
        sent = 0
        while sent < len(self.ids) and not self.failure:
            with self.changed:
                self.changed.wait_for(lambda: self.allowed > sent, 60)
                allowed = min(self.allowed, len(self.ids))
            while sent < allowed:
                job_id = self.ids[sent]
                request = self.yard.custom_request("never-run", f"model-{sent}")
                self.producer.produce(stack.PREFIX + "submit", key=job_id, on_delivery=self._on_delivery,
                                      value=self.yard.command(job_id, submit_custom=request))
                self.producer.poll(0)
                sent += 1
                if sent % 5000 == 0:
                    self.producer.flush(60)
        self.producer.flush(60)


class Storm(unittest.TestCase):
    def setUp(self):
        print(f"storm: {SUBMITS} submits, {RESTARTS} restarts, seed {SEED}", flush=True)
        self.random = random.Random(SEED)
        self.yard = self.enterContext(stack.Stack("kafka", partitions=PARTITIONS))
        self.ids = [str(uuid.UUID(int=self.random.getrandbits(128), version=4)) for _ in range(SUBMITS)]
        self.figures = {"kill": 0, "term": 0}

    def worker(self, number, wait=False):
        return self.yard.start_worker(f"intake-{number}", "--role", "intake", wait=wait)

    def strike(self):
        """One restart: of one worker, by KILL or by TERM, sometimes while another one is just starting again."""
        number = self.random.randrange(WORKERS)
        worker = self.yard.workers[f"intake-{number}"]
        self.assertTrue(worker.alive(), f"{worker.name} ended by itself:\n{worker.tail()}")
        if self.random.random() < 0.5:
            worker.kill()
            self.figures["kill"] += 1
        else:
            # One that has just been started may not take the signal yet, and dies of it.
            is_ready = (self.yard.dir / f"{worker.name}.ready").exists()
            self.assertIn(worker.stop(), (0,) if is_ready else (0, -signal.SIGTERM), worker.tail())
            self.figures["term"] += 1
        self.worker(number)

    def marks(self):
        marks = resp.table(self.yard.redis.port, "{ty:0}:w")
        return {int(name.partition("/")[2]): int(value) for name, value in marks.items() if name.startswith("submit/")}

    def ends(self, topic):
        from confluent_kafka import Consumer, TopicPartition
        consumer = Consumer({"bootstrap.servers": self.yard.broker.address, "group.id": "trainyard-intake"})
        try:
            name = stack.PREFIX + topic
            parts = consumer.list_topics(name, 60).topics[name].partitions
            ends = {part: consumer.get_watermark_offsets(TopicPartition(name, part), 60)[1] for part in parts}
            committed = {part.partition: part.offset for part in
                         consumer.committed([TopicPartition(name, part) for part in parts], 60)}
            return ends, committed
        finally:
            consumer.close()

    def test_intakes_restart_while_jobs_are_submitted(self):
        for number in range(WORKERS):
            self.worker(number, wait=True)
        publisher = Publisher(self.yard, self.ids)
        publisher.start()
        for number in range(RESTARTS):
            publisher.allow(SUBMITS * (number + 1) // RESTARTS)
            pause = time.monotonic() + self.random.uniform(*PAUSE_SECONDS)
            stack.wait_until(lambda: time.monotonic() > pause or publisher.failure, "the next restart")
            self.strike()
        publisher.join(120)
        self.assertIsNone(publisher.failure)
        self.assertEqual(publisher.acknowledged, SUBMITS)

        ends, _ = self.ends("submit")
        self.assertEqual(len(ends), PARTITIONS)
        self.assertEqual(sum(ends.values()), SUBMITS)
        wanted = {part: end for part, end in ends.items() if end}
        stack.wait_until(lambda: self.marks() == wanted, lambda: f"the watermarks are at the ends; missing: "
                         f"{ {part: (self.marks().get(part), end) for part, end in wanted.items() if self.marks().get(part) != end} }",
                         SETTLE_SECONDS)
        self.check_store()
        self.check_answers()
        for worker in self.yard.workers.values():
            self.assertEqual(worker.stop(), 0, worker.tail())
        letters, _ = self.ends("dead-letter")
        self.assertEqual(set(letters.values()), {0}, "there are dead letters")
        _, committed = self.ends("submit")
        self.assertEqual({part: offset for part, offset in committed.items() if ends[part]}, wanted)
        self.report()

    def check_store(self):
        """Each id is in the index once, in the queue once, and its record was written once."""
        port, raw = self.yard.redis.port, [uuid.UUID(job_id).bytes for job_id in self.ids]
        members = resp.ask(port, "ZRANGE", f"{{ty:0}}:s:{stack.PENDING}:{stack.ORGANIZATION}", 0, -1, seconds=60)
        self.assertEqual(sorted(members), sorted(raw))
        self.assertEqual(sorted(resp.ask(port, "ZRANGE", f"{{ty:0}}:f:shell:1|{stack.ORGANIZATION}", 0, -1, seconds=60)), sorted(raw))
        for first in range(0, len(raw), 10000):
            records = resp.ask_all(port, [("GET", b"{ty:0}:j:" + job) for job in raw[first:first + 10000]], 60)
            versions = {int.from_bytes(record[RECORD_VERSION], "little") if record else None for record in records}
            self.assertEqual(versions, {1}, "a job is missing, or was changed by a second delivery")

    def check_answers(self):
        """What a client is told: Get of some, List of all where an answer may hold them."""
        import grpc
        self.yard.start_responder()
        for job_id in self.random.sample(self.ids, 100):
            self.assertEqual(self.yard.get(job_id).status, stack.PENDING)
        if SUBMITS <= 20000:
            with grpc.insecure_channel(self.yard.server, [("grpc.max_receive_message_length", 64 << 20)]) as channel:
                api = self.yard.messages.ml_grpc.MLTrainingServiceStub(channel)
                jobs = api.ListTrainingJobs(self.yard.messages.ml.ListTrainingJobsRequest(
                    organization_id=stack.ORGANIZATION), timeout=30).jobs
            self.assertEqual(sorted(job.id for job in jobs), sorted(self.ids))

    def report(self):
        text = "\n".join(worker.text() for worker in self.yard.workers.values())
        print(f"storm: {SUBMITS} submits once each; {self.figures['kill']} killed, {self.figures['term']} stopped, "
              f"{text.count('intake.assigned')} assignments, {text.count('intake.gap')} gaps; seed {SEED}", flush=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
