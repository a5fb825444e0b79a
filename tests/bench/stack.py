"""The servers and programs that tests/bench/run measures: each on a free loopback port, with a directory of its own, ended
by its own process id, and gone when this process is."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "tests/e2e"))
from child import die_with_parent, free_port  # noqa: E402

READY_S = 60


class Failure(Exception):
    """Something does not work: said on stderr, exit code 1."""


class Missing(Failure):
    """A program that is not built: what needs it is skipped by name."""


class Process:
    """A program with its output in a file."""

    def __init__(self, name, words, directory):
        self.name, self.log_path = name, directory / f"{name}.log"
        with open(self.log_path, "wb") as log:
            self.child = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          cwd=directory, preexec_fn=die_with_parent)

    def log_tail(self):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-15:])

    def wait_for(self, is_ready, what):
        deadline = time.monotonic() + READY_S
        while not is_ready():
            if self.child.poll() is not None:
                raise Failure(f"{self.name} ended with {self.child.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise Failure(f"{self.name}: {what} within {READY_S} s:\n{self.log_tail()}")
            time.sleep(0.01)

    def resident_bytes(self, row="VmRSS"):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(row + ":"))

    def stop(self, grace_s=15):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(grace_s)
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
            raise Failure(f"{self.name} did not end within {grace_s} s of SIGTERM:\n{self.log_tail()}")
        return self.child.returncode

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind and self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        elif not kind:
            self.stop()


class Redis(Process):
    """As it is shipped (deploy/redis.conf), on a port of its own. The append-only file is not rewritten meanwhile, so that
    no rewrite falls into one figure and not into the limit beside it."""

    def __init__(self, directory):
        shipped = ROOT / "deploy" / "redis.conf"
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        own = directory / f"redis-{self.port}"
        own.mkdir()
        words = ["redis-server"] + ([shipped] if shipped.exists() else ["--maxmemory-policy", "noeviction"])
        words += ["--port", self.port, "--bind", "127.0.0.1", "--dir", own, "--daemonize", "no", "--save", "",
                  "--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"]
        super().__init__(f"redis-{self.port}", words, directory)
        self.wait_for(lambda: b"eady to accept connections" in self.log_path.read_bytes(), "no connections")
        self.own = own

    def ask(self, *words):
        """One command and its reply: bytes, a number, a list, or None."""
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as peer:
            peer.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            with peer.makefile("rb") as answer:
                return self.read(answer)

    def read(self, answer):
        head = answer.readline().rstrip()
        kind, rest = head[:1], head[1:]
        if kind == b"-":
            raise Failure(f"Redis: {rest.decode()}")
        if kind == b"$":
            return None if rest == b"-1" else answer.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read(answer) for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def info(self, section):
        return dict(line.split(":", 1) for line in self.ask("INFO", section).decode().splitlines() if ":" in line)

    def memory(self):
        """What the data take: without buffers, scripts and the log of slow commands, which do not grow with the jobs."""
        self.ask("SLOWLOG", "RESET")
        info = self.info("memory")
        others = ("mem_clients_normal", "mem_aof_buffer", "used_memory_scripts_eval")
        return int(info["used_memory"]) - sum(int(info.get(name, 0)) for name in others)

    def __exit__(self, *error):
        super().__exit__(*error)
        shutil.rmtree(self.own, ignore_errors=True)


class DevBroker(Process):
    """One a run: it keeps 5 MiB or 100,000 records a partition and drops the oldest silently, so a backlog stays well below
    that, over its 8 partitions."""
    max_backlog = 60000
    serial = 0

    def __init__(self, programs, directory):
        DevBroker.serial += 1
        port_file = directory / f"broker-{DevBroker.serial}.port"
        super().__init__(f"devbroker-{DevBroker.serial}", [programs.path("trainyard-devbroker"), "--port-file", port_file],
                         directory)
        self.wait_for(port_file.exists, "no address")
        self.address, self.prefix = port_file.read_text().strip(), "mltraining."


class Kafka:
    """One for all runs, each with topics of its own."""
    max_backlog = 1 << 30

    def __init__(self, programs, directory):
        self.script, self.directory = ROOT / "deploy" / "kafka" / "kafka", directory / "kafka"
        if not self.script.exists():
            raise Missing("deploy/kafka/kafka is not there")
        started = subprocess.run([self.script, "start", "--dir", self.directory, "--die-with", str(os.getpid()),
                                  "--property", "auto.create.topics.enable=true", "--property", "num.partitions=8"],
                                 stdout=subprocess.PIPE, text=True)
        if started.returncode:
            raise Failure("deploy/kafka/kafka start failed")
        self.address, self.serial = started.stdout.strip(), 0

    @property
    def prefix(self):
        return f"bench{self.serial}."

    def __enter__(self):
        self.serial += 1
        return self

    def __exit__(self, *_):
        pass

    def stop(self):
        subprocess.run([self.script, "stop", "--dir", self.directory])


class Programs:
    """What is built in a build directory."""

    def __init__(self, build):
        self.bin = build / "bin"
        self.deadline_ms = 60000

    def path(self, name):
        if not (self.bin / name).exists():
            raise Missing(f"{name} is not built")
        return self.bin / name

    def bench(self, verb, **flags):
        """Runs a verb of trainyard-bench and returns what it says."""
        process = self.start_bench(verb, **flags)
        out, _ = process.communicate()
        if process.returncode:
            raise Failure(f"trainyard-bench {verb} failed")
        return json.loads(out)

    def start_bench(self, verb, **flags):
        words = [self.path("trainyard-bench"), verb]
        for key, value in flags.items():
            for one in value if isinstance(value, list) else [value]:
                words += ["--" + key.replace("_", "-"), str(one)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)


class Worker(Process):
    serial = 0

    def __init__(self, programs, directory, redis, broker, role, *extra):
        Worker.serial += 1
        own = directory / f"worker-{Worker.serial}"
        for name in ("work", "store"):
            (own / name).mkdir(parents=True, exist_ok=True)
        ready = own / "ready"
        words = [programs.path("trainyard-worker"), "--redis", redis.url, "--name", f"bench-{Worker.serial}",
                 "--ready-file", ready, "--work-dir", own / "work", "--log-level", "warn"]
        if "--store-dir" not in extra:
            words += ["--store-dir", own / "store"]
        for name in role.split(","):
            words += ["--role", name]
        if broker:
            words += ["--kafka-brokers", broker.address, "--topic-prefix", broker.prefix]
        else: # as a publisher of events says of a new installation
            redis.ask("HSET", "{ty:0}:m", "replay", "done")
        super().__init__(f"worker-{Worker.serial}", words + list(extra), directory)
        self.wait_for(ready.exists, "is not ready")


class Listener(Process):
    """A program that writes where it listens to a file."""

    def __init__(self, name, words, directory):
        port_file = directory / f"{name}-{free_port()}.port"
        super().__init__(name, [*words, "--port-file", port_file], directory)
        self.wait_for(port_file.exists, "does not listen")
        self.address = port_file.read_text().strip()


@contextlib.contextmanager
def directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="trainyard-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
