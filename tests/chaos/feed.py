"""The `events` topic, read by a client that is not ours from before the first job on: committed transactions only."""
import dataclasses
import hashlib
import threading
import time

import checker
import stack


@dataclasses.dataclass
class Told:
    """One record of the feed. status 0: a deletion; of a null record only `job` and `place` are set."""
    job: str
    place: tuple  # partition, offset
    order: tuple = None  # epoch, version
    status: int = 0
    attempt: int = 0
    fence: int = 0
    deleted: bool = False
    canceled: bool = False  # a cancel was applied
    null: bool = False
    seen: float = 0.0  # when it was read, by the wall clock
    reason: int = 0
    losses: int = 0
    errors: int = 0
    handed_back: tuple = ()  # attempts that a stopping worker gave back
    digest: bytes = b""      # of the whole value


class Feed(threading.Thread):
    def __init__(self, yard):
        super().__init__(daemon=True)
        from confluent_kafka import Consumer, TopicPartition
        self.yard, self.topic, self.told = yard, stack.PREFIX + "events", []
        self.over, self.behind = threading.Event(), True
        self.failure = None
        self.consumer = Consumer({"bootstrap.servers": yard.broker.address, "group.id": "chaos-checker",
                                  "isolation.level": "read_committed", "enable.auto.commit": False,
                                  "auto.offset.reset": "earliest", "enable.partition.eof": True})
        parts = self.consumer.list_topics(self.topic, 20).topics[self.topic].partitions
        self.at_end = dict.fromkeys(parts, False)
        self.consumer.assign([TopicPartition(self.topic, part, 0) for part in parts])

    def run(self):
        from confluent_kafka import KafkaError
        try:
            while not self.over.is_set():
                message = self.consumer.poll(0.2)
                if message is None:
                    continue
                if message.error():
                    if message.error().code() == KafkaError._PARTITION_EOF:
                        self.at_end[message.partition()] = True
                    continue
                self.take(message)
        except Exception as error:  # the checker must not take silence for peace
            self.failure = repr(error)
        finally:
            self.consumer.close()

    def take(self, message):
        job, place = message.key().decode(), (message.partition(), message.offset())
        if message.value() is None:
            self.told.append(Told(job, place, null=True))
            return
        event = self.yard.messages.event.JobEvent.FromString(message.value())
        self.told.append(Told(job, place, (event.epoch, event.version), event.metadata.status, event.attempt, event.fence,
                              event.deleted, event.cancel_requested, seen=time.time(), reason=event.reason, losses=event.losses,
                              errors=event.errors, digest=hashlib.sha256(message.value()).digest(),
                              handed_back=tuple(move.attempt for move in event.history
                                                if move.reason == checker.REASON_HANDED_BACK)))

    def reached(self):
        """Where it is in each partition: behind everything that is in the topic now?"""
        from confluent_kafka import TopicPartition
        ends = {part: self.consumer.get_watermark_offsets(TopicPartition(self.topic, part), 10)[1] for part in self.at_end}
        places = {spot.partition: spot.offset for spot in
                  self.consumer.position([TopicPartition(self.topic, part) for part in self.at_end])}
        return all(max(places[part], 0) >= end for part, end in ends.items())

    def stop(self):
        self.over.set()
        self.join(30)
