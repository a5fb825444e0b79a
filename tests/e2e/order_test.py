"""Nothing depends on order: commands of the same jobs over random partitions, many times each, by Kafka and by RPC, and one
idempotency key on both roads at once."""
import concurrent.futures
import itertools
import json
import random
import threading
import unittest
import uuid

import grpc
import stack

KINDS = stack.broker_kinds()
KEYS = uuid.UUID("5f3c1e0a-7d44-4b52-9a6e-21c80f95d3b7")
COMMANDS = ("submit", "other", "cancel", "delete")
TOPIC_OF = {"submit": "submit", "other": "submit", "cancel": "cancel", "delete": "delete"}
SEED = 20261126


def id_of_key(key):
    # uuid.uuid5 takes text, and a zero byte is text too.
    return str(uuid.uuid5(KEYS, f"{stack.ORGANIZATION}\0{key}"))


class Order(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.yard.script("unused", "exit 1")
        cls.yard.start_responder()
        # Nobody runs jobs here: they stand as the commands leave them.
        for name in ("intake-1", "intake-2"):
            cls.yard.start_worker(name, "--role", "intake")

    def mark(self, topic, partition):
        return int(self.yard.redis.ask("EVAL", "return tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')", 1, "{ty:0}:w",
                                       f"{topic}/{partition}")[1:])

    def wait_applied(self, seconds=120):
        """Everything that Kafka has of commands is in the store, and no cancel is held: a store that is new may be one that was lost,
        and one of these tests empties it."""
        from kafka import KafkaConsumer, TopicPartition
        consumer = KafkaConsumer(bootstrap_servers=self.yard.broker.address, api_version=(2, 5, 0))
        places = [TopicPartition(stack.PREFIX + topic, partition) for topic in ("submit", "cancel", "delete")
                  for partition in self.yard.producer().partitions_for(stack.PREFIX + topic)]
        ends = consumer.end_offsets(places)
        consumer.close()

        def behind():
            return [place for place, end in ends.items()
                    if self.mark(place.topic.removeprefix(stack.PREFIX), place.partition) < end]
        stack.wait_until(lambda: not behind(), lambda: f"all is applied, but not of {behind()}", seconds)
        stack.wait_until(lambda: all(self.yard.redis.ask("ZCARD", "{ty:0}:" + name) == ":0" for name in "hz"), "no cancel is held", seconds)

    def dead_letters(self):
        """Of each job id the values that went there because another body stands."""
        from kafka import KafkaConsumer, TopicPartition
        consumer = KafkaConsumer(bootstrap_servers=self.yard.broker.address, api_version=(2, 5, 0), enable_auto_commit=False)
        place = TopicPartition(stack.PREFIX + "dead-letter", 0)
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        end = consumer.end_offsets([place])[place]
        found = {}
        while consumer.position(place) < end:
            for records in consumer.poll(500).values():
                for record in records:
                    if b"the first one stands" in dict(record.headers)["trainyard-origin-reason"]:
                        found.setdefault(record.key.decode(), []).append(record.value)
        consumer.close()
        return found

    def body(self, job_id, command):
        ml = self.yard.messages.ml
        if command in ("submit", "other"):
            return self.yard.command(job_id, submit_custom=self.yard.custom_request("unused", f"model-{command}"))
        request = ml.CancelTrainingJobRequest if command == "cancel" else ml.DeleteCompletedTrainingJobRequest
        return self.yard.command(job_id, **{command: request(id=job_id)})

    def test_random_partitions_and_orders(self):
        """Each set of commands, each of them once to three times, to random partitions, all jobs mixed with each other."""
        dice = random.Random(SEED)
        jobs, records = {}, []
        sets = [names for count in range(1, 5) for names in itertools.combinations(COMMANDS, count)]
        for names in sets * 12:
            job_id = str(uuid.UUID(int=dice.getrandbits(128), version=4))
            jobs[job_id] = {name: self.body(job_id, name) for name in names}
            records += [(job_id, name) for name in names for _ in range(dice.randint(1, 3))]
        dice.shuffle(records)
        producer = self.yard.producer()
        sent = [producer.send(stack.PREFIX + TOPIC_OF[name], key=job_id.encode(), value=jobs[job_id][name],
                              partition=dice.choice(sorted(producer.partitions_for(stack.PREFIX + TOPIC_OF[name]))))
                for job_id, name in records]
        for future in sent:
            future.get(30)
        self.wait_applied()
        # A letter is written behind the store's answer, and its offset is committed behind it.
        losers = {}
        for job_id, bodies in jobs.items():
            job = self.yard.get(job_id)
            if job:
                losers[job_id] = {bodies[name] for name in ("submit", "other") if name in bodies and job.model_name != f"model-{name}"}

        def letters_of_losers():
            letters = self.dead_letters()
            return letters if all(values <= set(letters.get(job_id, [])) for job_id, values in losers.items()) else None
        letters = stack.wait_until(letters_of_losers, "the other bodies are dead letters")
        listed = {job.id: job.status for job in self.yard.jobs()}
        for job_id, bodies in jobs.items():
            with self.subTest(seed=SEED, job=job_id, commands=sorted(bodies)):
                job = self.yard.get(job_id)
                submits = [name for name in ("submit", "other") if name in bodies]
                if "delete" in bodies or not submits:
                    self.assertIsNone(job)
                    self.assertNotIn(job_id, listed)
                    continue
                self.assertEqual(job.status, stack.CANCELED if "cancel" in bodies else stack.PENDING)
                self.assertEqual(listed[job_id], job.status)
                first = job.model_name.removeprefix("model-")
                self.assertIn(first, submits)
                self.assertEqual(set(letters.get(job_id, [])), losers[job_id])
                self.assertEqual(len(losers[job_id]), len(submits) - 1)

    # ---- idempotency keys

    def submit_rpc(self, request, key):
        """As any client would: again while the answer is UNAVAILABLE. A store that was emptied says so until it knows the key."""
        found = []

        def ask():
            try:
                found.append(self.yard.api.SubmitCustomTrainingJob(request, timeout=30, metadata=(("idempotency-key", key),)).id)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
            return found
        return stack.wait_until(ask, "the submit is answered")[0]

    def submit_kafka(self, request, key, job_id=None):
        options = self.yard.messages.command.JobOptions(idempotency_key=key)
        return self.yard.publish_custom(request, options, job_id or id_of_key(key))

    def submit_cli(self, request, key):
        return self.yard.cli(
            "submit-custom", "--org", request.organization_id, "--dataset", request.dataset_id, "--container",
            request.container_version, "--script", request.registry_item_id, "--model-name", request.model_name,
            "--model-version", request.model_version, "--idempotency-key", key).stdout.strip()

    def named(self, name):
        return [job for job in self.yard.jobs() if job.model_name == name]

    def fifty(self, request, key):
        """Twenty-five by RPC, fifteen by a Kafka client, ten by processes of libtrainyard, all at one moment."""
        self.yard.producer().partitions_for(stack.PREFIX + "submit")
        roads = [self.submit_rpc] * 25 + [self.submit_kafka] * 15 + [self.submit_cli] * 10
        together = threading.Barrier(len(roads))

        def one(road):
            together.wait(30)
            return road(request, key)
        with concurrent.futures.ThreadPoolExecutor(len(roads)) as pool:
            return list(pool.map(one, roads))

    def test_fifty_repeats_over_both_roads_are_one_job(self):
        name, key = f"model-{uuid.uuid4()}", f"nightly-{uuid.uuid4()}"
        request = self.yard.custom_request("unused", name)
        self.assertEqual(set(self.fifty(request, key)), {id_of_key(key)})
        self.wait_applied()
        self.assertEqual([(job.id, job.status) for job in self.named(name)], [(id_of_key(key), stack.PENDING)])
        self.assertNotIn(id_of_key(key), self.dead_letters())
        # And with an empty store, while the intakes bring back what was there.
        self.yard.redis.ask("FLUSHALL")
        self.assertEqual(set(self.fifty(request, key)), {id_of_key(key)})
        self.wait_applied()
        self.assertEqual([(job.id, job.status) for job in self.named(name)], [(id_of_key(key), stack.PENDING)])
        self.assertNotIn(id_of_key(key), self.dead_letters())

    def test_another_body_under_a_key(self):
        key = f"nightly-{uuid.uuid4()}"
        first, other = (self.yard.custom_request("unused", f"{name}-{uuid.uuid4()}") for name in ("first", "other"))
        self.assertEqual(self.submit_rpc(first, key), id_of_key(key))
        with self.assertRaises(grpc.RpcError) as refused:
            self.submit_rpc(other, key)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.ALREADY_EXISTS)
        self.assertEqual(self.submit_cli(other, key), id_of_key(key))  # Kafka takes it; the intake does not
        self.wait_applied()
        letters = stack.wait_until(lambda: self.dead_letters().get(id_of_key(key)), "the other body is a dead letter")
        self.assertEqual(len(set(letters)), 1)
        self.assertEqual(self.yard.messages.command.JobCommand.FromString(letters[0]).submit_custom.model_name, other.model_name)
        self.assertEqual(self.yard.get(id_of_key(key)).model_name, first.model_name)
        self.assertEqual(self.named(other.model_name), [])


class BulkCancel(unittest.TestCase):
    """trainyard cancel --filter."""

    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.yard.start_responder()
        cls.yard.start_worker("intake-1", "--role", "intake")

    def setUp(self):
        self.organization = str(uuid.uuid4())

    def submit(self, model, labels=(), **fields):
        request = self.yard.custom_request("unused", model)
        request.organization_id = self.organization
        for name, value in fields.items():
            setattr(request, name, value)
        return self.yard.api.SubmitCustomTrainingJob(
            request, timeout=10, metadata=[("trainyard-label", label) for label in labels]).id

    def cancel(self, *filters, flags=("--yes",), check=True):
        words = [word for text in filters for word in ("--filter", text)]
        return self.yard.cli("cancel", "--filter", f"organization={self.organization}", *words, *flags, check=check)

    def ids(self, status):
        return {job.id for job in self.yard.api.ListTrainingJobs(self.yard.messages.ml.ListTrainingJobsRequest(
            organization_id=self.organization, status=status), timeout=10).jobs}

    def wait_canceled(self, *ids):
        stack.wait_until(lambda: self.ids(stack.CANCELED) == set(ids),
                         lambda: f"just {ids} are canceled, but {self.ids(stack.CANCELED)}")

    def test_only_what_fits_is_canceled(self):
        trials = [self.submit(f"trial-{number}") for number in range(3)]
        red = self.submit("red", labels=("team=red", "keep=no"))
        blue = self.submit("blue", labels=("team=blue",))
        other_data = self.submit("data", dataset_id="other-set")
        every = {*trials, red, blue, other_data}
        shown = self.cancel("model=trial-*", flags=("--dry-run",))
        self.assertIn("3 jobs would be canceled", shown.stderr)
        for job_id in every:
            (self.assertIn if job_id in trials else self.assertNotIn)(job_id, shown.stdout)
        listed = json.loads(self.cancel("status=pending", flags=("--dry-run", "--json")).stdout)
        self.assertEqual(({job["id"] for job in listed["jobs"]}, listed["dry_run"]), (every, True))
        self.assertEqual(self.ids(stack.PENDING), every)  # nothing has happened
        for nothing in ("older-than=1h", "model=trial", "label=team=gr*", "version=2", "tag=x", "script=test:no", "status=in-progress"):
            self.assertIn("0 jobs: cancellation sent", self.cancel(nothing).stderr, nothing)
        self.assertIn("3 jobs: cancellation sent", self.cancel("model=trial-*", "older-than=0s").stderr)
        self.wait_canceled(*trials)
        sent = json.loads(self.cancel("label=team=red", "label=team=green", flags=("--yes", "--json")).stdout)
        self.assertEqual([command["id"] for command in sent["commands"]], [red])
        self.wait_canceled(*trials, red)
        self.assertIn("1 job: cancellation sent", self.cancel("dataset=other-set", "container=shell:1").stderr)
        self.wait_canceled(*trials, red, other_data)
        self.assertIn("1 job: cancellation sent", self.cancel("label=team", "status=pending", "status=in-progress").stderr)
        self.wait_canceled(*every)
        self.assertIn("0 jobs: cancellation sent", self.cancel().stderr)

    def test_a_list_that_is_cut_is_gone_through(self):
        """More than one answer of List can hold: our own list goes from page to page."""
        large = self.yard.custom_request("unused", "large", {f"argument{number}": "x" * 4000 for number in range(60)})
        large.organization_id = self.organization
        ids = {self.yard.api.SubmitCustomTrainingJob(large, timeout=30).id for _ in range(120)}
        listed = json.loads(self.yard.cli("list", "--org", self.organization, "--json").stdout)
        self.assertEqual((listed["truncated"], listed["next_page_token"]), (False, None))  # our own list goes from page to page
        self.assertLessEqual(ids, {job["id"] for job in listed["jobs"]})
        self.assertIn("120 jobs would be canceled", self.cancel("model=large", flags=("--dry-run",)).stderr)
        self.assertIn("0 jobs: cancellation sent", self.cancel("model=small").stderr)
        self.assertIn("120 jobs: cancellation sent", self.cancel("model=large").stderr)
        for job_id in ids:
            self.yard.wait_status(job_id, stack.CANCELED)

    def test_what_makes_no_sense_is_refused(self):
        job_id = self.submit("kept")
        for words, why in (
                ((), "JOB_ID... is missing"),
                (("--yes", job_id), "go with --filter"),
                (("--filter", "model=kept", "--yes"), "organization=ID must be given"),
                (("--filter", "organization=a*", "--yes"), "takes no *"),
                (("--filter", f"organization={self.organization}"), "--dry-run to see which jobs it fits, or --yes"),
                (("--filter", f"organization={self.organization}", "--yes", "--dry-run"), "--dry-run to see"),
                (("--filter", f"organization={self.organization}", "--yes", job_id), "in place of job ids"),
                (("--filter", f"organization={self.organization}", "--filter", "status=failed", "--yes"),
                 "no job that is FAILED can be canceled"),
                (("--filter", f"organization={self.organization}", "--filter", "status=done", "--yes"), "filter status"),
                (("--filter", f"organization={self.organization}", "--filter", "older-than=soon", "--yes"), "is no time such as"),
                (("--filter", f"organization={self.organization}", "--filter", "colour=red", "--yes"), "there is no key \"colour\"")):
            done = self.yard.cli("cancel", *words, check=False)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(why, done.stderr)
        self.assertEqual(self.yard.get(job_id).status, stack.PENDING)

    def test_kafka_and_the_responder_may_be_away(self):
        job_id = self.submit("kept")
        words = ("cancel", "--filter", f"organization={self.organization}", "--yes", "--timeout-ms", "500")
        nowhere = self.yard.cli(*words, "--server", "127.0.0.1:1", check=False)
        self.assertNotEqual(nowhere.returncode, 0)
        self.assertIn("127.0.0.1:1", nowhere.stderr)
        nowhere = self.yard.cli(*words, "--kafka-brokers", "127.0.0.1:1", check=False)
        self.assertNotEqual(nowhere.returncode, 0)
        self.assertNotIn("cancellation sent", nowhere.stderr)
        self.assertEqual(self.yard.get(job_id).status, stack.PENDING)


if __name__ == "__main__":
    unittest.main(verbosity=2)
