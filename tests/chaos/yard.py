"""The stack under test: each worker has a line of its own to Redis and all have one to Kafka, through proxies; its processes
can be found, stopped and killed as one machine."""
import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import checker  # noqa: E402
import proxy  # noqa: E402
import resp  # noqa: E402
import stack  # noqa: E402

LEASE_MS = 1500
COMEBACK_SECONDS = 25  # after an outage: by then the store must show what it had shown
TELL_SECONDS = 1.5     # workers tell what they know, and the publisher ends what was held, once a second
REPORT_SECONDS = 1.0   # so often the workers log their figures
COUNTERS = ("gaps", "leases_taken", "stale_refused", "publisher_fenced", "rollbacks")

JOB = """
witness() { echo "$1 $TRAINYARD_JOB_ID $TRAINYARD_ATTEMPT $TRAINYARD_FENCE $(date +%s%N) $OUTPUT" >> "$ARG_witness"; }
witness start
sleep "$ARG_seconds"
[ "$ARG_exit" = 0 ] || { witness end; exit "$ARG_exit"; }
echo "$TRAINYARD_ATTEMPT $TRAINYARD_FENCE" > "$OUTPUT/attempt"
witness end
"""


def quiet_port():
    """One that no outgoing connection takes while its server restarts."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(max(1024, low - 12000), low)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def last_words(process):
    lines = [line for line in process.text().splitlines() if ".figures " not in line]
    return "\n".join(lines[-20:])


def how_it_ended(process, status):
    """What is to be said of a program that ended, with the end of its log; None: it ended as it should."""
    if status == 0:
        return None
    how = f"of signal {signal.Signals(-status).name}" if status < 0 else f"with {status}"
    return f"{process.name} ended {how}:\n{last_words(process)}"


def died(process):
    """The same of one that is to run; None: it does."""
    status = process.child.poll()
    if status is None:
        return None
    return how_it_ended(process, status) or f"{process.name} ended by itself:\n{last_words(process)}"


class Machine:
    """A worker with its work directory and whatever it started."""

    def __init__(self, yard, name):
        self.yard, self.name = yard, name
        self.line = proxy.Proxy(yard.lines, yard.redis.port)
        self.work = yard.dir / f"{name}.work"
        self.busy = threading.Lock()  # held by the fault that it has
        self.process = None
        self.ready = yard.dir / f"{name}.ready"

    def start(self, wait=True):
        yard, ready = self.yard, self.ready
        ready.unlink(missing_ok=True)
        command = [
            stack.BUILD / "bin/trainyard-worker", "--name", self.name, "--redis", f"redis://127.0.0.1:{self.line.port}",
            "--kafka-brokers", yard.kafka_for_workers, "--catalog-dir", yard.catalog, "--work-dir", self.work,
            "--store-dir", yard.store, "--ready-file", ready, "--slots", "4", "--lease-ms", LEASE_MS, "--max-attempts", "100",
            "--max-losses", "100", "--retry-base-ms", "100", "--retry-max-ms", "500", "--lost-lease-limit-ms", "4000",
            "--drain-ms", "500", "--grace-ms", "500", "--redis-timeout-ms", "1000"]
        if self.process:
            self.process.start()
        else:
            self.process = yard.workers[self.name] = stack.Process(self.name, yard.dir, command)
        if wait:
            stack.wait_until(lambda: ready.exists() or not self.process.alive(), f"{self.name} is ready", 60)

    def report(self):
        """Has the worker log its figures. One that is ready takes the signal; before that it would die of it."""
        child = self.process.child
        if self.ready.exists() and child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGUSR1)

    def report_last(self):
        """Before it is killed: what it has counted, by which a run is judged, is not lost with it."""
        with open(self.process.log) as log:
            log.seek(0, os.SEEK_END)
            self.report()
            with contextlib.suppress(AssertionError):
                stack.wait_until(lambda: "intake.figures" in log.read(), "its figures", 1)

    def stop(self, seconds):
        """Drains it; a status that is not 0 is trouble."""
        self.yard.troubled_by(how_it_ended(self.process, self.process.stop(seconds)))

    def family(self):
        """The worker's process and those of its jobs: supervisors by their command line, the rest by descent."""
        parents, ours = {}, set()
        mark = str(self.work).encode()
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    pid = int(entry.name)
                    parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    words = (entry / "cmdline").read_bytes()
                    if mark in words:
                        ours.add(pid)
        if self.process.alive():
            ours.add(self.process.child.pid)
        found = set(ours)
        for pid in parents:
            step = pid
            while step in parents and step > 1:
                if step in ours:
                    found.add(pid)
                    break
                step = parents[step]
        return found

    def signal_all(self, number):
        """All processes of the machine, those of its jobs after those that could tell of their end."""
        family = self.family()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return family

    def supervisors(self):
        found = []
        for pid in self.yard.supervisors():
            with contextlib.suppress(OSError):
                if str(self.work).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def wipe(self):
        shutil.rmtree(self.work, ignore_errors=True)


class Yard(stack.Stack):
    def __init__(self, machines):
        stack.free_port = quiet_port
        self.lines = proxy.Lines()
        direct, inner, controller, outer = (quiet_port() for _ in range(4))
        super().__init__("kafka", kafka_words=[
            "--port", str(direct), "--property",
            f"listeners=PLAINTEXT://127.0.0.1:{direct},PROXIED://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}",
            "--property", f"advertised.listeners=PLAINTEXT://127.0.0.1:{direct},PROXIED://127.0.0.1:{outer}",
            "--property", "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "--property", f"controller.quorum.voters=1@127.0.0.1:{controller}"])
        self.kafka_line = proxy.Proxy(self.lines, inner, outer)
        self.kafka_for_workers = f"127.0.0.1:{outer}"
        self.script("witness", JOB)
        self.witness = self.dir / "witness"
        self.witness.touch()
        self.responder_line = proxy.Proxy(self.lines, self.redis.port)
        self.machines = [Machine(self, f"worker-{number}") for number in range(machines)]
        self.redis_busy = threading.Lock()  # nobody else restarts, saves or restores it
        self.outages = []  # checker.Outage
        self.coming_back = []  # those of which it is not known yet when the store was whole again
        self.wipes = []    # (machine, when): its disk was lost
        self.away = []     # checker.Away
        self.troubles = []  # what no fault explains
        self._last, self.counters = {}, dict.fromkeys(COUNTERS, 0)

    def __exit__(self, *error):
        for machine in self.machines if hasattr(self, "machines") else ():
            if machine.process:
                for pid in machine.family():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        result = super().__exit__(*error)
        self.lines.close()
        return result

    def start_all(self):
        self.redis_url_for_responder = f"redis://127.0.0.1:{self.responder_line.port}"
        real, self.redis.url = self.redis.url, self.redis_url_for_responder
        self.start_responder()
        self.redis.url = real
        for machine in self.machines:
            machine.start()

    def heal(self):
        """Every fault that lasts is over."""
        for line in [self.kafka_line, self.responder_line, *(machine.line for machine in self.machines)]:
            line.heal()
        for machine in self.machines:
            machine.signal_all(signal.SIGCONT)
        self.check_alive()

    def troubled_by(self, what):
        if what and what not in self.troubles:
            print(f"  TROUBLE {what.splitlines()[0]}", flush=True)
            self.troubles.append(what)

    def check_alive(self):
        """When no fault has a worker, it runs. One that has ended by itself is noted, and started again for the rest of the run."""
        self.troubled_by(died(self.responder))
        for machine in self.machines:
            if trouble := died(machine.process):
                self.troubled_by(trouble)
                machine.start()

    def lines_of_redis(self):
        return [self.responder_line, *(machine.line for machine in self.machines)]

    # ---- what the store counted; it forgets when it goes back

    def count(self):
        with contextlib.suppress(OSError):
            facts = resp.table(self.redis.port, "{ty:0}:m")
            for name in COUNTERS:
                now = int(facts.get(name, b"0"))
                last = self._last.get(name, 0)
                self.counters[name] += max(now - last, 0)
                self._last[name] = now

    def was_out(self, kind, began, lost_from):
        """Redis has just been started again, without what it was told from then on; inf: with all."""
        self.outages.append(checker.Outage(began, time.time() + COMEBACK_SECONDS, lost_from, kind))
        self.coming_back.append(self.outages[-1])

    def look_whether_back(self):
        """Notes when the store was brought back: this Redis has been met, and says that the events were read. Then who knows
        more has a lease to say so, and looks once a second."""
        if not self.coming_back:
            return
        with contextlib.suppress(OSError):
            waiting = list(self.coming_back)
            facts, info = resp.ask_all(self.redis.port, [("HMGET", "{ty:0}:m", "server", "replay"), ("INFO", "server")])
            if facts[0] and facts[1] == b"done" and b"run_id:" + facts[0] in info:
                for outage in waiting:
                    print(f"  the store is whole {time.time() - outage.begin:.1f} s after it was {outage.kind}", flush=True)
                    outage.end = min(outage.end, time.time() + LEASE_MS / 1000 + TELL_SECONDS)
                    self.coming_back.remove(outage)

    def machine_of(self, path):
        """The name of the machine that a job's directory is of."""
        return next(machine.name for machine in self.machines if pathlib.Path(path).is_relative_to(machine.work))

    def witnessed(self, place=0):
        """What the jobs wrote down behind this place, word by word."""
        with open(self.witness) as lines:
            lines.seek(place)
            return [words for words in map(str.split, lines.read().splitlines()) if len(words) == 6]

    def leases_taken(self):
        with contextlib.suppress(OSError):
            return int(resp.ask(self.redis.port, "HGET", "{ty:0}:m", "leases_taken") or 0)
        return 0

    def publisher(self):
        with contextlib.suppress(OSError):
            name = resp.ask(self.redis.port, "GET", "{ty:0}:p")
            return name.decode() if name else None

    def ended(self):
        """How many jobs are COMPLETED in the store."""
        with contextlib.suppress(OSError):
            return resp.ask(self.redis.port, "ZCARD", f"{{ty:0}}:s:{stack.COMPLETED}:{stack.ORGANIZATION}")
        return 0

    def outbox_is_empty(self):
        with contextlib.suppress(OSError):
            return resp.ask(self.redis.port, "ZCARD", "{ty:0}:o") == 0

    def commands_are_applied(self):
        """The intake has come to the end of every partition, by the marks that it leaves in the store."""
        with contextlib.suppress(OSError):
            marks = resp.table(self.redis.port, "{ty:0}:w")
            return all(int(marks.get(f"{kind}/{part}", b"0")) >= end for (kind, part), end in self.command_ends().items())
        return False

    def command_ends(self):
        from confluent_kafka import Consumer, TopicPartition
        asker, ends = Consumer({"bootstrap.servers": self.broker.address, "group.id": "chaos-ends"}), {}
        try:
            topics = asker.list_topics(timeout=20).topics
            for kind in ("submit", "cancel", "delete"):
                for part in topics[stack.PREFIX + kind].partitions:
                    ends[kind, part] = asker.get_watermark_offsets(TopicPartition(stack.PREFIX + kind, part), 20)[1]
        finally:
            asker.close()
        return ends

    def submits(self):
        """How many the topic has."""
        return sum(end for (kind, _part), end in self.command_ends().items() if kind == "submit")

    def log_text(self):
        return {machine.name: machine.process.text() for machine in self.machines}


class Snapshots(threading.Thread):
    """Saves the store every few seconds and keeps what may be asked for: (when, bytes), oldest first."""

    EVERY_SECONDS = 4
    KEEP_SECONDS = 100

    def __init__(self, yard):
        super().__init__(daemon=True)
        self.yard, self.taken, self.over = yard, [], threading.Event()

    def run(self):
        while not self.over.wait(self.EVERY_SECONDS):
            with self.yard.redis_busy, contextlib.suppress(OSError, AssertionError):
                began = time.time()
                data = self.yard.redis.snapshot()
                self.taken = [kept for kept in self.taken if began - kept[0] < self.KEEP_SECONDS] + [(began, data)]

    def aged(self, youngest, oldest):
        """The newest whose age in seconds is between; None: there is none."""
        fitting = [kept for kept in self.taken if youngest <= time.time() - kept[0] <= oldest]
        return fitting[-1] if fitting else None
