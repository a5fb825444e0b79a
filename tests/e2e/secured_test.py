"""The main job where nobody may do more than he must: Kafka with TLS, SASL and access rules, Redis with users, each program
with an account of its own as deploy/kafka/acls.json and deploy/redis/roles.json have it. And with one privilege less it fails,
and says what is missing."""
import json
import subprocess
import time
import unittest
import uuid

import certificates
import stack

KINDS = stack.broker_kinds()
KAFKA_ROLES = ("producer", "responder", "intake", "reader", "operator")
REDIS_ROLES = ("responder", "intake", "run")


def secret(directory, name):
    """A password of its own for each, in a file that only its owner reads."""
    path = directory / f"{name}.password"
    if not path.exists():
        path.touch(0o600)
        path.write_text(f"secret-{name}-{uuid.uuid4().hex}\n")
    return path


class GuardedRedis(stack.Redis):
    def _command(self):
        passwords = self.dir / "passwords"
        passwords.mkdir()
        for role in (*REDIS_ROLES, "default"):
            secret(passwords, role)
        self.password = secret(passwords, "default").read_text().strip()
        users = self.dir / "users.acl"
        users.write_text(subprocess.run([stack.SOURCE / "deploy/redis/acl", "with-passwords", passwords], check=True,
                                        stdout=subprocess.PIPE, text=True).stdout)
        return [*super()._command(), "--aclfile", users]

    def flags(self, role):
        return ("--redis", f"redis://trainyard-{role}@127.0.0.1:{self.port}", "--redis-password-file",
                secret(self.dir / "passwords", role))


class GuardedKafka(stack.Broker):
    def __init__(self, kind, directory, partitions=None, kafka_words=()):
        self.secrets = directory / "kafka-secrets"
        authority = certificates.Authority(self.secrets, "ca")
        cert, key = authority.issue("node")
        cert.rename(self.secrets / "cert.pem")
        key.rename(self.secrets / "key.pem")
        users = [f"{name}:{secret(self.secrets, name).read_text().strip()}" for name in ("admin", *KAFKA_ROLES)]
        (self.secrets / "users").write_text("\n".join(users) + "\n")
        super().__init__(kind, directory, partitions, ("--secure", self.secrets))

    def start(self):
        super().start()
        import confluent_kafka.admin as admin
        self.admin = admin.AdminClient(self.client("admin"))
        self._create([rule for rule in self.rules() if rule["resource"] != "transactional_id"])
        self._create_others([rule for rule in self.rules() if rule["resource"] == "transactional_id"])

    def _create(self, rules):
        for done in self.admin.create_acls([self._binding(rule) for rule in rules]).values():
            done.result(30)

    def _create_others(self, rules):
        """This version of the other client does not know rules of transactional ids."""
        import kafka.admin as admin
        client = admin.KafkaAdminClient(bootstrap_servers=self.address, api_version=(2, 5, 0), security_protocol="SASL_SSL",
                                        sasl_mechanism="PLAIN", sasl_plain_username="admin", ssl_cafile=str(self.secrets / "ca.pem"),
                                        sasl_plain_password=secret(self.secrets, "admin").read_text().strip())
        made = client.create_acls([admin.ACL(
            rule["principal"], "*", admin.ACLOperation[rule["operation"].upper()], admin.ACLPermissionType.ALLOW,
            admin.ResourcePattern(admin.ResourceType.TRANSACTIONAL_ID, rule["name"], admin.ACLResourcePatternType[rule["pattern"].upper()]))
            for rule in rules])
        client.close()
        assert len(made["succeeded"]) == len(rules), made

    @staticmethod
    def rules():
        done = subprocess.run([stack.SOURCE / "deploy/kafka/acls", "json", *(f"{role}=User:{role}" for role in KAFKA_ROLES)],
                              check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)

    @staticmethod
    def _binding(rule, kind="AclBinding"):
        import confluent_kafka.admin as admin
        resource = {"topic": admin.ResourceType.TOPIC, "group": admin.ResourceType.GROUP}[rule["resource"]]
        return getattr(admin, kind)(resource, rule["name"],
                                    admin.ResourcePatternType[rule["pattern"].upper()], rule["principal"], "*",
                                    admin.AclOperation[{"DescribeConfigs": "DESCRIBE_CONFIGS"}.get(rule["operation"], rule["operation"].upper())],
                                    admin.AclPermissionType.ALLOW)

    def without(self, principal, resource, name, operation):
        """Takes one privilege away; the caller calls what is returned to give it back."""
        rule = next(rule for rule in self.rules() if (rule["principal"], rule["resource"], rule["name"], rule["operation"]) == (
            f"User:{principal}", resource, name, operation))
        gone = self.admin.delete_acls([self._binding(rule, "AclBindingFilter")])
        assert all(len(done.result(30)) == 1 for done in gone.values())
        return lambda: self._create([rule])

    def properties(self, role):
        return (f"security.protocol=SASL_SSL", "sasl.mechanism=PLAIN", f"sasl.username={role}",
                f"sasl.password.file={secret(self.secrets, role)}", f"ssl.ca.location={self.secrets}/ca.pem")

    def flags(self, role):
        return [word for one in self.properties(role) for word in ("--kafka-property", one)]

    def client(self, role):
        """The same for librdkafka in Python."""
        found = dict(one.split("=", 1) for one in self.properties(role))
        found["sasl.password"] = secret(self.secrets, role).read_text().strip()
        del found["sasl.password.file"]
        return {"bootstrap.servers": self.address, **found}


class GuardedStack(stack.Stack):
    redis_class, broker_class = GuardedRedis, GuardedKafka


class Secured(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(GuardedStack(KINDS[0]))
        cls.yard.script("quick", 'echo "a line of output"; echo model > "$OUTPUT/model"')
        cls.yard.script("slow", 'while true; do sleep 0.1; done')
        cls.yard.start_responder(*cls.yard.redis.flags("responder"), *cls.yard.broker.flags("responder"))
        cls.intake = cls.yard.start_worker("intake-1", "--role", "intake", *cls.yard.redis.flags("intake"),
                                           *cls.yard.broker.flags("intake"))
        # A worker that only runs jobs has no account in Kafka at all.
        cls.runner = cls.yard.start_worker("run-1", "--role", "run", "--slots", "2", "--grace-ms", "500", "--kafka-brokers", "127.0.0.1:1",
                                        *cls.yard.redis.flags("run"))

    def kafka(self, role, verb, *words, check=True):
        """A verb of the command line with an account of Kafka."""
        return self.yard.cli(verb, *words, *self.yard.broker.flags(role), check=check)

    def submit(self, script, role="producer", check=True):
        done = self.kafka(role, "submit-custom", "--org", stack.ORGANIZATION, "--dataset", "empty-set", "--container", "shell:1",
                          "--script", f"test:{script}", "--model-name", f"m-{uuid.uuid4()}", check=check)
        return done.stdout.strip() if check else done

    def refused(self, what, done, *texts, status=7):
        self.assertEqual(done.returncode, status, f"{what}: {done.stderr}")
        for text in texts:
            self.assertIn(text, done.stderr, what)

    # ---- what each may do is enough

    def test_1_the_main_job(self):
        yard = self.yard
        by_kafka = self.submit("quick")
        by_rpc = yard.api.SubmitCustomTrainingJob(yard.custom_request("quick", f"m-{uuid.uuid4()}"), timeout=10).id
        for job_id in (by_kafka, by_rpc):
            self.assertEqual(yard.wait_end(job_id).status, stack.COMPLETED)
        self.assertIn("a line of output", [entry.message for entry in yard.logs(by_kafka)])
        followed = yard.cli("logs", "--follow", by_rpc)
        self.assertIn("a line of output", followed.stdout)
        self.assertEqual(len([job for job in yard.jobs() if job.id in (by_kafka, by_rpc)]), 2)
        running = self.submit("slow")
        yard.wait_status(running, stack.IN_PROGRESS)
        self.kafka("producer", "cancel", running)
        self.assertEqual(yard.wait_end(running).status, stack.CANCELED)
        yard.api.DeleteCompletedTrainingJob(yard.messages.ml.DeleteCompletedTrainingJobRequest(id=by_rpc), timeout=10)
        self.kafka("producer", "delete", running)
        stack.wait_until(lambda: yard.get(by_rpc) is None and yard.get(running) is None, "both are gone")
        # The model's public name comes when Kafka has the end: the run worker hears of that through Redis.
        stack.wait_until(lambda: "run.settling" not in self.runner.tail(), "nothing waits")

    def test_2_operators_and_readers(self):
        yard = self.yard
        self.kafka("operator", "topics", "check")
        self.kafka("operator", "pause", stack.ORGANIZATION)
        waits = self.submit("quick")

        def reason():
            pending = json.loads(yard.cli("get", "--json", waits, check=False).stdout or "{}").get("pending")
            return pending and pending["reason"] == "organization_paused"
        stack.wait_until(reason, "the pause is in force")
        self.kafka("operator", "resume", stack.ORGANIZATION)
        self.assertEqual(yard.wait_end(waits).status, stack.COMPLETED)
        self.kafka("operator", "rules")
        import confluent_kafka
        producer = confluent_kafka.Producer(yard.broker.client("producer"))
        producer.produce("mltraining.submit", b"no command", b"x")
        self.assertEqual(producer.flush(30), 0)
        stack.wait_until(lambda: json.loads(self.kafka("operator", "dead-letters", "list", "--json").stdout)["letters"],
                         "the operator sees the dead letter")
        reader = confluent_kafka.Consumer({**yard.broker.client("reader"), "group.id": "nobody", "enable.auto.commit": False,
                                           "isolation.level": "read_committed"})
        self.addCleanup(reader.close)
        reader.assign([confluent_kafka.TopicPartition("mltraining.events", number, 0) for number in range(8)])
        seen = set()

        def reads():
            message = reader.poll(0.2)
            if message is not None and not message.error():
                seen.add((message.key() or b"").decode())
            return waits in seen
        stack.wait_until(reads, lambda: f"the reader sees the job's event: {len(seen)}")

    # ---- and one less is too little

    def test_3_accounts_that_are_none(self):
        wrong = [word for one in (*self.yard.broker.properties("producer")[:3], f"ssl.ca.location={self.yard.broker.secrets}/ca.pem",
                                  "sasl.password=wrong-secret") for word in ("--kafka-property", one)]
        words = ("submit-custom", "--org", stack.ORGANIZATION, "--dataset", "empty-set", "--container", "shell:1", "--script",
                 "test:quick", "--model-name", "m")
        done = self.yard.cli(*words, *wrong, check=False)
        self.assertIn(done.returncode, (3, 7), done.stderr)
        self.assertRegex(done.stderr, "(?i)authentication")
        self.assertNotIn("wrong-secret", done.stderr)
        missing = self.yard.cli(*words, "--kafka-property", "sasl.password.file=/nowhere", check=False)
        self.refused("no file", missing, "Kafka property sasl.password.file: /nowhere: there is no such file", status=2)
        misspelt = self.yard.cli(*words, "--kafka-property", "sasl.password:hunter2", check=False)
        self.refused("no equals sign", misspelt, "expected key=value", status=2)
        self.assertNotIn("hunter2", misspelt.stderr)

    def test_4_a_producer_without_a_topic(self):
        give_back = self.yard.broker.without("producer", "topic", "mltraining.cancel", "Write")
        self.addCleanup(give_back)
        stack.wait_until(lambda: self.kafka("producer", "cancel", str(uuid.uuid4()), check=False).returncode == 7, "it is refused")
        self.refused("cancel", self.kafka("producer", "cancel", str(uuid.uuid4()), check=False), "mltraining.cancel", "uthoriz")
        self.assertEqual(self.yard.wait_end(self.submit("quick")).status, stack.COMPLETED)
        self.refused("rules", self.kafka("producer", "pause", "acme", check=False), "mltraining.settings", "uthoriz")
        self.refused("reader", self.submit("quick", role="reader", check=False), "mltraining.submit", "uthoriz")

    def test_5_a_responder_without_a_topic(self):
        import grpc
        give_back = self.yard.broker.without("responder", "topic", "mltraining.submit", "Write")
        self.addCleanup(give_back)
        caught = []

        def refused():
            try:
                self.yard.api.SubmitCustomTrainingJob(self.yard.custom_request("quick", f"m-{uuid.uuid4()}"), timeout=10)
            except grpc.RpcError as error:
                caught[:] = [error]
            return caught and "mltraining.submit" in caught[0].details()
        stack.wait_until(refused, lambda: f"a submit is refused, and the topic is named: {caught}")
        self.assertRegex(caught[0].details(), "(?i)authoriz")

    def second(self, name, *words):
        worker = self.yard.start_worker(name, *words, wait=False)
        self.addCleanup(lambda: (worker.kill(), self.yard.workers.pop(name)))
        return worker

    def test_6_an_intake_without_its_group(self):
        worker = self.second("intake-2", "--role", "intake", "--group-id", "another", *self.yard.redis.flags("intake"),
                             *self.yard.broker.flags("intake"))
        stack.wait_until(lambda: "Group authorization failed" in worker.log.read_text(), lambda: worker.tail())

    def test_7_programs_without_a_command_of_redis(self):
        redis = self.yard.redis
        for role, command, start in (
                ("run", "time", lambda: self.second("run-2", "--role", "run", *redis.flags("run"))),
                ("intake", "evalsha", lambda: self.second("intake-3", "--role", "intake", *redis.flags("intake"), *self.yard.broker.flags("intake")))):
            self.assertEqual(redis.ask("ACL", "SETUSER", f"trainyard-{role}", f"-{command}"), "+OK")
            try:
                worker = start()
                stack.wait_until(lambda: worker.alive() and (
                    "NOPERM" in worker.log.read_text() or "can't run this command" in worker.log.read_text()),
                                 lambda: f"{role} without {command}:\n{worker.tail()}")
            finally:
                redis.ask("ACL", "SETUSER", f"trainyard-{role}", f"+{command}")
        wrong = self.second("run-4", "--role", "run", *redis.flags("run")[:2], "--redis-password-file", secret(redis.dir / "passwords", "default"))
        stack.wait_until(lambda: "WRONGPASS" in wrong.log.read_text(), wrong.tail)

    def test_8_no_role_does_what_is_anothers(self):
        redis = self.yard.redis
        for role, words in (("responder", ("HSET", "{ty:0}:a", "key/x", "y")), ("responder", ("HSET", "{ty:0}:g", "pause/*", "1")),
                            ("run", ("HSET", "{ty:0}:a", "key/x", "y")), ("run", ("HSET", "{ty:0}:w", "submit/0", "1")),
                            ("run", ("FLUSHALL",)), ("intake", ("CONFIG", "GET", "*")), ("intake", ("KEYS", "*")),
                            ("responder", ("GET", "another-key"))):
            self.assertRegex(redis.ask("ACL", "DRYRUN", f"trainyard-{role}", *words), "(?i)permission", f"{role} {words}")
        self.assertEqual(redis.ask("ACL", "DRYRUN", "trainyard-intake", "HSET", "{ty:0}:a", "key/x", "y"), "+OK")

    def test_9_no_secret_is_logged(self):
        secrets = [path.read_text().strip() for path in self.yard.dir.rglob("*.password")]
        self.assertEqual(len(secrets), 1 + len(KAFKA_ROLES) + len(REDIS_ROLES) + 1)
        for log in self.yard.dir.glob("*.log"):
            text = log.read_text(errors="replace")
            for one in secrets:
                self.assertNotIn(one, text, log)


if __name__ == "__main__":
    unittest.main()
