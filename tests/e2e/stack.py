"""A whole Trainyard for one test: Redis, a broker, a responder and workers, each a process of the built programs on a
free loopback port, in a directory of its own, and gone with the test however that ends.

TRAINYARD_BUILD says which build (set by ctest). A suite is called with the broker to use: `devbroker` or `kafka`.
"""
import contextlib
import importlib
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid

from child import die_with_parent, free_port

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD", SOURCE / "build" / "dev"))
HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77
PREFIX = "mltraining."


def skip(reason):
    print(f"skipped: {reason}", flush=True)
    sys.exit(SKIPPED)


def report(suite, text):
    """Text that `tests/run` prints when all suites have ended."""
    place = BUILD / "reports"
    place.mkdir(exist_ok=True)
    (place / f"{suite}.txt").write_text(text)
    print(text, end="", flush=True)


def wait_until(check, what, seconds=60):
    """Returns what `check` returns once that is true; fails after the deadline, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)


class Process:
    """One program with its output in a file."""

    def __init__(self, name, directory, command, env=None):
        self.name, self.command, self.env = name, [str(part) for part in command], env
        self.log = directory / f"{name}.log"
        self.child = None
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=self.env, preexec_fn=die_with_parent)

    def alive(self):
        return self.child.poll() is None

    def signal(self, number):
        self.child.send_signal(number)

    def kill(self):
        if self.alive():
            self.child.kill()
        self.child.wait()

    def stop(self, seconds=30):
        """SIGTERM, and the exit status."""
        if self.alive():
            self.child.terminate()
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds} s after SIGTERM:\n{self.tail()}") from None

    def text(self):
        return self.log.read_text(errors="replace")

    def tail(self, count=40):
        return "\n".join(self.text().splitlines()[-count:])


class Redis:
    def __init__(self, directory):
        self.dir, self.port = directory / "redis", free_port()
        self.dir.mkdir()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process = Process("redis", directory, self._command())
        self.wait()

    # The administrator's password where users have passwords.
    password = None

    def _command(self):
        return ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", self.dir, "--appendonly", "yes",
                "--save", "", "--maxmemory-policy", "noeviction", "--daemonize", "no"]

    def ask(self, *words):
        with socket.create_connection(("127.0.0.1", self.port), 5) as line:
            if self.password:
                line.sendall(f"AUTH {self.password}\r\n".encode())
                assert line.recv(5) == b"+OK\r\n"
            line.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in
                                                             (word if isinstance(word, bytes) else str(word).encode() for word in words)))
            answer = line.makefile("rb")
            first = answer.readline().rstrip(b"\r\n").decode(errors="replace")
            return answer.read(int(first[1:])).decode(errors="replace") if first[:1] == "$" and first != "$-1" else first

    def _answers(self):
        with contextlib.suppress(OSError):
            return self.ask("PING") == "+PONG"

    def wait(self):
        wait_until(self._answers, lambda: f"Redis answers:\n{self.process.tail()}", 30)

    def stop(self):
        self.process.stop()

    def start(self):
        self.process.start()
        self.wait()

    def snapshot(self):
        """The data as they are now; for `restore`."""
        before = self.ask("LASTSAVE")
        wait_until(lambda: self.ask("LASTSAVE") == before and int(time.time()) > int(before[1:]), "a new second")
        self.ask("BGSAVE")
        wait_until(lambda: self.ask("LASTSAVE") != before, "a snapshot")
        return (self.dir / "dump.rdb").read_bytes()

    def restore(self, snapshot):
        """The power goes, and what comes back is the snapshot."""
        self.process.kill()
        shutil.rmtree(self.dir / "appendonlydir", ignore_errors=True)
        (self.dir / "dump.rdb").write_bytes(snapshot)
        # A server that is told to append would start empty beside a snapshot: it loads first and appends then.
        loader = Process("redis-loader", self.dir.parent, self.process.command + ["--appendonly", "no"])
        self.wait()
        self.ask("CONFIG", "SET", "appendonly", "yes")
        wait_until(lambda: "aof_rewrite_in_progress:0" in self._info() and "aof_enabled:1" in self._info(), "the append file")
        loader.stop()
        self.start()

    def info(self, section):
        """What Redis says of itself."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as line:
            line.sendall(b"INFO %s\r\n" % section.encode())
            answer = line.makefile("rb")
            return answer.read(int(answer.readline()[1:])).decode()

    def _info(self):
        with socket.create_connection(("127.0.0.1", self.port), 5) as line:
            line.sendall(b"INFO persistence\r\n")
            reader = line.makefile("rb")
            return reader.read(int(reader.readline()[1:])).decode()


class Broker:
    """Either kind; `address` is host:port."""

    def __init__(self, kind, directory, partitions=None, kafka_words=()):
        """Kafka only: partitions of the command topics, and more words for `deploy/kafka/kafka start`."""
        self.kind, self.dir = kind, directory
        self.words = kafka_words
        if kind == "kafka":
            if os.environ.get("TRAINYARD_WITHOUT_KAFKA"):
                skip(os.environ["TRAINYARD_WITHOUT_KAFKA"])
            self.start()
            subprocess.run([BUILD / "bin" / "trainyard", "topics", "create", "--kafka-brokers", self.address, "--file",
                            self._topics(partitions), *self.flags("operator")], check=True, stdout=subprocess.DEVNULL)
            self._wait_for_leaders()
        else:
            port_file = directory / "broker.port"
            self.process = Process("devbroker", directory,
                                   [BUILD / "bin" / "trainyard-devbroker", "--port-file", port_file])
            wait_until(port_file.exists, lambda: f"the broker is up:\n{self.process.tail()}")
            self.address = port_file.read_text().strip()

    def flags(self, role):
        """What a program needs to be let in."""
        return []

    def client(self, role):
        """The same for librdkafka in Python."""
        return {"bootstrap.servers": self.address}

    def _wait_for_leaders(self):
        """Topics are made before the broker knows them and leads their partitions, on a busy machine for seconds."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition
        names = {PREFIX + topic["name"] for topic in json.loads((self.dir / "topics.json").read_text())["topics"]}
        client = Consumer({**self.client("admin"), "group.id": "nobody", "log_level": 0})

        def leads():
            topics = client.list_topics(timeout=60).topics
            try:
                return names <= set(topics) and all([client.get_watermark_offsets(TopicPartition(name, part), 60)
                                                     for name in names for part in topics[name].partitions])
            except KafkaException:
                return False
        wait_until(leads, "the broker leads the partitions of all topics", 120)
        client.close()

    def _topics(self, partitions):
        described = json.loads((SOURCE / "schemas/topics.json").read_text())
        for topic in described["topics"]:
            if partitions and topic["name"] in ("submit", "cancel", "delete"):
                topic["partitions"] = partitions
        (self.dir / "topics.json").write_text(json.dumps(described))
        return self.dir / "topics.json"

    def start(self):
        """Kafka only: over what the last run left."""
        done = subprocess.run([SOURCE / "deploy/kafka/kafka", "start", "--dir", self.dir / "kafka", "--die-with",
                               str(os.getpid()), *self.words], stdout=subprocess.PIPE, text=True)
        if done.returncode == 3:
            skip("Kafka is not here and cannot be fetched")
        if done.returncode:
            raise AssertionError(f"Kafka did not start: exit {done.returncode}")
        self.address = done.stdout.strip()

    def stop(self, now=False):
        if self.kind == "kafka":
            subprocess.run([SOURCE / "deploy/kafka/kafka", "stop", "--dir", self.dir / "kafka"] +
                           (["--now"] if now else []), check=True)
        else:
            self.process.stop()


class Messages:
    """The generated code of our protos, made by a foreign compiler for this test."""

    def __init__(self, directory):
        from grpc_tools import protoc
        out = directory / "python"
        out.mkdir()
        protos = SOURCE / "proto"
        ours = ["google/rpc/status.proto", "trainyard/v1/job_service.proto", "viam/app/mltraining/v1/ml_training.proto", "trainyard/v1/command.proto",
                "trainyard/v1/event.proto", "trainyard/v1/log.proto", "trainyard/v1/log_service.proto", "viam/app/v1/app.proto",
                "proto/rpc/v1/auth.proto"]
        if protoc.main(["protoc", f"-I{protos}", f"--python_out={out}", f"--grpc_python_out={out}", *ours]):
            raise AssertionError("protoc refused the protos")
        sys.path.insert(0, str(out))
        self.ml = importlib.import_module("viam.app.mltraining.v1.ml_training_pb2")
        for name in ("viam.app.v1.app_pb2", "proto.rpc.v1.auth_pb2"):
            importlib.import_module(name)
        self.ml_grpc = importlib.import_module("viam.app.mltraining.v1.ml_training_pb2_grpc")
        self.command = importlib.import_module("trainyard.v1.command_pb2")
        self.event = importlib.import_module("trainyard.v1.event_pb2")
        self.log = importlib.import_module("trainyard.v1.log_pb2")
        self.job_service = importlib.import_module("trainyard.v1.job_service_pb2")
        self.job_service_grpc = importlib.import_module("trainyard.v1.job_service_pb2_grpc")
        self.log_service = importlib.import_module("trainyard.v1.log_service_pb2")
        self.log_service_grpc = importlib.import_module("trainyard.v1.log_service_pb2_grpc")


ORGANIZATION = "6f1e2c7a-0c0e-4f6e-9a55-0d2f4f8f1c11"
PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELED, CANCELING = range(1, 7)
TERMINAL = (COMPLETED, FAILED, CANCELED)


class Stack(contextlib.AbstractContextManager):
    redis_class, broker_class = Redis, Broker

    def __init__(self, broker, partitions=None, kafka_words=()):
        if os.environ.get("TRAINYARD_WITHOUT_FOREIGN"):
            skip(os.environ["TRAINYARD_WITHOUT_FOREIGN"])
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="trainyard-e2e-"))
        self.store = self.dir / "store"
        self.workers = {}
        self.responder = None
        self._producer = None
        self.failed = False
        self.on_exit = contextlib.ExitStack()
        try:
            for name in ("datasets", "scripts", "models"):
                (self.store / name).mkdir(parents=True)
            self.messages = Messages(self.dir)
            self.redis = self.redis_class(self.dir)
            self.broker = self.broker_class(broker, self.dir, partitions, kafka_words)
            self._make_catalog()
            self.dataset("empty-set", ['{"image_path": "none.png"}'])
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise

    def __exit__(self, kind, error, trace):
        if kind and not issubclass(kind, SystemExit):
            for log in sorted(self.dir.glob("*.log")):
                lines = log.read_text(errors="replace").splitlines()[-60:]
                print(f"---- {log.name}\n" + "\n".join(lines), file=sys.stderr)
        self.on_exit.close()
        for worker in self.workers.values():
            worker.kill()
        if self.responder:
            self.responder.kill()
        if getattr(self, "broker", None):
            self.broker.stop(now=True) if self.broker.kind == "kafka" else self.broker.process.kill()
        if getattr(self, "redis", None):
            self.redis.process.kill()
        for supervisor in self.supervisors():
            with contextlib.suppress(ProcessLookupError):
                os.kill(supervisor, signal.SIGKILL)
        if os.environ.get("TRAINYARD_KEEP"):
            print(f"kept: {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        return False

    # ---- programs

    def start_responder(self, *flags, env=None):
        port_file = self.dir / "responder.port"
        port_file.unlink(missing_ok=True)
        self.responder = Process("responder", self.dir, [
            BUILD / "bin/trainyard-responder", "--listen", "127.0.0.1:0", "--port-file", port_file, "--redis",
            self.redis.url, "--kafka-brokers", self.broker.address, "--catalog-dir", self.catalog, *flags], env and {**os.environ, **env})
        wait_until(port_file.exists, lambda: f"the responder listens:\n{self.responder.tail()}")
        self.server = port_file.read_text().strip()
        import grpc
        # A connection of its own: one that was shared with a channel to the same address before may be in back-off.
        channel = grpc.insecure_channel(self.server, [("grpc.use_local_subchannel_pool", 1)])
        grpc.channel_ready_future(channel).result(timeout=30)
        self.channel = channel
        self.api = self.messages.ml_grpc.MLTrainingServiceStub(channel)
        return self.responder

    def start_worker(self, name, *flags, wait=True):
        ready = self.dir / f"{name}.ready"
        ready.unlink(missing_ok=True)
        worker = Process(name, self.dir, [
            BUILD / "bin/trainyard-worker", "--name", name, "--redis", self.redis.url, "--kafka-brokers",
            self.broker.address, "--catalog-dir", self.catalog, "--work-dir", self.dir / f"{name}.work", "--store-dir",
            self.store, "--ready-file", ready, *flags])
        self.workers[name] = worker
        if wait:
            wait_until(lambda: ready.exists() or not worker.alive(), lambda: f"{name} is ready:\n{worker.tail()}")
            assert worker.alive(), f"{name} ended:\n{worker.tail()}"
        return worker

    def wait_whole(self):
        """Until the store is trusted and has every submit: a Get says of a job that there is none."""
        wait_until(lambda: self.redis.ask("HGET", "{ty:0}:m", "replay") == "done" and
                   self.redis.ask("HEXISTS", "{ty:0}:m", "submits") == ":0", "the store is whole")

    def supervisors(self):
        """The process ids of the supervisors of this stack's attempts."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if words[0].endswith(b"trainyard-exec") and str(self.dir).encode() in b" ".join(words):
                        found.append(int(entry.name))
        return found

    def cli(self, *words, check=True, env=None):
        done = subprocess.run([BUILD / "bin/trainyard", *map(str, words)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
                              env={**os.environ, "TRAINYARD_SERVER": getattr(self, "server", ""),
                                   "TRAINYARD_KAFKA_BROKERS": self.broker.address, **(env or {})})
        if check and done.returncode:
            raise AssertionError(f"trainyard {words}: exit {done.returncode}: {done.stderr}")
        return done

    # ---- stores

    def _make_catalog(self):
        self.catalog = self.dir / "catalog"
        self.catalog.mkdir()
        shutil.copy(SOURCE / "schemas/trainers.json", self.catalog)
        catalog = json.loads((SOURCE / "schemas/containers.json").read_text())
        catalog["containers"].append({
            "key": "shell:1", "uri": "docker.io/library/debian:12", "framework": "sh",
            "description": "Shell scripts in place of Python, for short jobs in tests", "eol": "2099-12-31T00:00:00Z",
            "runner": "process", "python": str(HERE / "jobs" / "shell-python"), "install": "offline",
            "progress": [{"pattern": "^round ([0-9]+)/([0-9]+)$", "step": 1, "steps": 2}]})
        (self.catalog / "containers.json").write_text(json.dumps(catalog))

    def dataset(self, name, lines):
        place = self.store / "datasets" / name
        place.mkdir()
        (place / "dataset.jsonl").write_text("".join(line + "\n" for line in lines))

    def script(self, name, text, version="1"):
        """A training script of one file; `text` is the shell (container shell:1) or Python program."""
        place = self.store / "scripts" / "test" / name
        place.mkdir(parents=True, exist_ok=True)
        files = {"setup.py": "from setuptools import setup\nsetup(name='model', version='1', packages=['model'])\n",
                 "model/__init__.py": "", "model/training.py": text}
        with tarfile.open(place / f"{version}.tar.gz", "w:gz") as archive:
            for path, content in files.items():
                entry = tarfile.TarInfo(f"{name}-{version}/{path}")
                entry.size = len(content.encode())
                archive.addfile(entry, io.BytesIO(content.encode()))

    # ---- commands

    def producer(self):
        from kafka import KafkaProducer
        if not self._producer:
            # A topic that has just been made may have no leader yet, on a busy machine for seconds; the order stays through retries.
            self._producer = KafkaProducer(bootstrap_servers=self.broker.address, api_version=(2, 5, 0), acks="all", retries=300,
                                           max_in_flight_requests_per_connection=1, linger_ms=5, max_request_size=4 << 20)
            self.on_exit.callback(self._producer.close, 5)
        return self._producer

    def custom_request(self, script, model, arguments=None, dataset="empty-set", container="shell:1", version="1"):
        return self.messages.ml.SubmitCustomTrainingJobRequest(
            dataset_id=dataset, registry_item_id=f"test:{script}", registry_item_version="",
            organization_id=ORGANIZATION, model_name=model, model_version=version, arguments=arguments or {},
            container_version=container)

    def publish(self, topic, job_id, value):
        return self.producer().send(PREFIX + topic, key=job_id.encode() if job_id else None, value=value)

    def command(self, job_id, **parts):
        return self.messages.command.JobCommand(format_version=1, command_id=uuid.uuid4().bytes, job_id=job_id,
                                                issuer="e2e", **parts).SerializeToString()

    def publish_custom(self, request, options=None, job_id=None):
        """Publishes a submit as any upstream service would; returns the job id once Kafka has acknowledged."""
        job_id = job_id or str(uuid.uuid4())
        self.publish("submit", job_id, self.command(job_id, submit_custom=request, options=options)).get(30)
        return job_id

    # ---- answers

    def get(self, job_id):
        import grpc
        try:
            return self.api.GetTrainingJob(self.messages.ml.GetTrainingJobRequest(id=job_id), timeout=10).metadata
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE):
                return None
            raise

    def jobs(self, status=0):
        return self.api.ListTrainingJobs(self.messages.ml.ListTrainingJobsRequest(
            organization_id=ORGANIZATION, status=status), timeout=10).jobs

    def wait_status(self, job_id, *wanted, seconds=60):
        last = [None]

        def check():
            last[0] = self.get(job_id)
            return last[0] if last[0] is not None and last[0].status in wanted else None
        return wait_until(check, lambda: f"job {job_id} has status {wanted}, but: {last[0]}", seconds)

    def wait_end(self, job_id, seconds=60):
        return self.wait_status(job_id, *TERMINAL, seconds=seconds)

    def logs(self, job_id):
        entries, token = [], ""
        while True:
            page = self.api.GetTrainingJobLogs(
                self.messages.ml.GetTrainingJobLogsRequest(id=job_id, page_token=token), timeout=10)
            entries += page.logs
            token = page.next_page_token
            if not token:
                return entries

    def status_counts(self, ids):
        """How many of the jobs have each status; 0 counts those that nothing is known of."""
        import grpc
        by_id = {}
        try:
            by_id = {job.id: job.status for job in self.jobs()}
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
        counts = {}
        for job_id in ids:
            status = by_id.get(job_id, 0)
            counts[status] = counts.get(status, 0) + 1
        return counts

    def wait_all_end(self, ids, seconds):
        counts = [{}]

        def check():
            counts[0] = self.status_counts(ids)
            return counts[0] if sum(counts[0].get(status, 0) for status in TERMINAL) == len(ids) else None
        return wait_until(check, lambda: f"{len(ids)} jobs have ended, but: {counts[0]}", seconds)


def broker_kinds():
    """The brokers named on the command line (taken off it, so that unittest sees the rest)."""
    kinds = [word for word in sys.argv[1:] if word in ("kafka", "devbroker")]
    sys.argv[1:] = [word for word in sys.argv[1:] if word not in ("kafka", "devbroker")]
    return kinds or ["devbroker"]
