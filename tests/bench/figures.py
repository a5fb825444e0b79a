"""The figures, each beside the limit of the same machine, measured right before or after it."""
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import time

from stack import DevBroker, Failure, Kafka, Listener, Redis, Worker

MIB = 1 << 20
GET = "/viam.app.mltraining.v1.MLTrainingService/GetTrainingJob"
CHECK = "/grpc.health.v1.Health/Check"


class Void(Failure):
    """What was applied is not what was acknowledged: the run says nothing about speed."""


class Bench:
    """What all figures need: programs, a directory, how much of everything, and a broker that is started when asked for."""

    def __init__(self, programs, directory, sizes, runs, use_kafka, stored, report):
        self.programs, self.directory, self.sizes, self.runs = programs, directory, sizes, runs
        self.use_kafka, self.stored, self.report = use_kafka, stored, report
        self.exit_stack, self.kafka = contextlib.ExitStack(), None

    def broker(self):
        """A broker, or topics, of one run only."""
        if not self.use_kafka:
            return DevBroker(self.programs, self.directory)
        if not self.kafka:
            self.kafka = Kafka(self.programs, self.directory)
            self.exit_stack.callback(self.kafka.stop)
        return self.kafka

    @contextlib.contextmanager
    def redis(self):
        """A fresh store, with what --stored asks for in it."""
        with Redis(self.directory) as redis:
            if self.stored:
                self.programs.bench("raw-submit", redis=redis.url, count=self.stored, way="variadic", in_flight=8,
                                    organization="stored")
                redis.ask("DEL", "{ty:0}:q:null:1", "{ty:0}:f:null:1|stored", "{ty:0}:r:null:1", "{ty:0}:w")  # stored, but nobody's to claim
            yield redis

    def responder(self, redis):
        """The broker is not needed to answer: no address that anybody listens at."""
        words = [self.programs.path("trainyard-responder"), "--listen", "127.0.0.1:0", "--redis", redis.url,
                 "--kafka-brokers", "127.0.0.1:9", "--log-level", "error"]
        return Listener("responder", words, self.directory)

    def count(self, redis, expected, state):
        """Void unless Redis has exactly the expected jobs, by their keys and by the index of that state."""
        counts = self.programs.bench("count", redis=redis.url)
        found = {"keys": counts["keys"] - self.stored, state: counts[state]}
        if set(found.values()) != {expected}:
            raise Void(f"{expected} jobs were acknowledged, but Redis has {found}")

    def watch(self, redis, way, key, count, first=0):
        return self.programs.bench("watch", redis=redis.url, way=way, key=key, count=count, first=first)


def middle(values):
    return statistics.median(values)


ORGANIZATION = "0d9c5d3e-5b1c-4c6e-9d55-0b6f7a1c2e3d"
COMPLETED = f"{{ty:0}}:s:3:{ORGANIZATION}"


def intake(bench):
    """A backlog on Kafka, one worker of the role intake."""
    jobs = bench.sizes["intake"] if bench.use_kafka else min(bench.sizes["intake"], DevBroker.max_backlog)
    rates, limits, resident = [], {"lua": [], "plain": [], "variadic": []}, []
    for _ in range(bench.runs):
        with bench.broker() as broker, bench.redis() as redis:
            sent = bench.programs.bench("publish", kafka_brokers=broker.address, topic_prefix=broker.prefix, count=jobs)
            with Worker(bench.programs, bench.directory, redis, broker, "intake") as worker:
                rates.append(bench.watch(redis, "watermarks", "{ty:0}:w", sent["acknowledged"])["rate"])
                resident.append(worker.resident_bytes("VmHWM"))
            bench.count(redis, sent["acknowledged"], "pending")
        for way, values in limits.items():
            with bench.redis() as redis:
                values.append(bench.programs.bench("raw-submit", redis=redis.url, count=jobs, way=way,
                                                   in_flight=512 if way == "plain" else 8)["rate"])
    limits = {way: middle(values) for way, values in limits.items()}
    bench.report("intake", middle(rates), "commands/s", limit=max(limits.values()), goal=0.8, jobs=jobs,
                 note="limit: the best way below", **{f"limit_{way}": value for way, value in limits.items()})
    bench.report("worker_resident_intake", middle(resident) / MIB, "MiB", at_most=64, jobs=jobs)


def null_jobs(bench):
    """A full ready queue, one worker of the role run: claimed, started, completed."""
    jobs = bench.sizes["null_jobs"]
    rates, limits = [], {"single": [], "batched": []}
    for _ in range(bench.runs):
        with bench.redis() as redis:
            bench.programs.bench("fill", redis=redis.url, count=jobs, in_flight=4)
            with Worker(bench.programs, bench.directory, redis, None, "run"):
                rates.append(bench.watch(redis, "zset", COMPLETED, jobs)["rate"])
            bench.count(redis, jobs, "completed")
        for way, values in limits.items():
            with bench.redis() as redis:
                bench.programs.bench("fill", redis=redis.url, count=jobs, in_flight=4)
                values.append(bench.programs.bench("raw-cycle", redis=redis.url, count=jobs, way=way, batch=64,
                                                   in_flight=64 if way == "single" else 4)["rate"])
                bench.count(redis, jobs, "completed")
    bench.report("null_jobs", middle(rates), "jobs/s", limit=middle(limits["single"]), goal=0.6, jobs=jobs,
                 note="limit: two minimal scripts a job, pipeline 64", limit_batched=middle(limits["batched"]))


def latency(bench):
    """One job at a time, nothing else to do; beside it the broker's own time from produce to consume."""
    jobs, rows, idle = bench.sizes["latency"], [], []
    for _ in range(bench.runs):
        with bench.broker() as broker, bench.redis() as redis:
            flags = {"kafka_brokers": broker.address, "topic_prefix": broker.prefix, "count": jobs}
            # Makes the topics where they are not there; the first records are ordinary jobs, too.
            first = bench.programs.bench("publish", **{**flags, "count": 1, "first": 2 * jobs})["acknowledged"]
            echo = bench.programs.bench("echo", **flags)
            with Worker(bench.programs, bench.directory, redis, broker, "intake,run") as worker:
                sent = echo["acknowledged"] + first
                bench.watch(redis, "zset", COMPLETED, sent)
                start = bench.programs.bench("latency", redis=redis.url, first=jobs, **flags)
                idle.append(worker.resident_bytes())
            bench.count(redis, sent + start["acknowledged"], "completed")
        rows.append({**echo, **start})
    row = {key: middle([one[key] for one in rows]) for key in rows[0]}
    for percentile, more in (("p50", 1), ("p99", 5)):
        limit = row[f"echo_{percentile}_ms"]
        bench.report(f"submit_to_start_{percentile}", row[f"start_{percentile}_ms"], "ms", limit=limit, at_most=limit + more,
                     jobs=jobs, note=f"limit: the broker's own produce to consume; goal: at most {more} ms more",
                     after_acknowledged=row[f"start_after_ack_{percentile}_ms"])
    bench.report("worker_resident_idle", middle(idle) / MIB, "MiB", at_most=24, jobs=jobs)


def get(bench):
    """GetTrainingJob over gRPC, one responder, one connection with 32 calls in flight; beside it an empty call."""
    jobs, calls = bench.sizes["get_jobs"], bench.sizes["get"]
    rates, times, empty, check = [], [], [], []
    for _ in range(bench.runs):
        with bench.redis() as redis:
            bench.programs.bench("fill", redis=redis.url, count=jobs, in_flight=4)
            load = {"count": calls, "in_flight": 32, "batch": min(jobs, 4096)}
            words = [bench.programs.path("trainyard-bench"), "grpc-serve", "--method", GET]
            with Listener("empty", words, bench.directory) as server:
                empty.append(bench.programs.bench("grpc-load", address=server.address, method=GET, **load)["rate"])
            with bench.responder(redis) as responder:
                bench.programs.bench("grpc-load", address=responder.address, method=GET, **{**load, "count": 1000})
                answer = bench.programs.bench("grpc-load", address=responder.address, method=GET, **load)
                rates.append(answer["rate"])
                times.append(answer["p99_ms"])
    bench.report("get", middle(rates), "calls/s", limit=middle(empty), goal=0.6, jobs=jobs, calls=calls,
                 note="limit: an empty call to a server that does nothing", p99_ms=middle(times))


def wait_no_leftovers(redis):
    """Replay keys of claims go with their lease."""
    deadline = time.monotonic() + 60
    while ",expires=0," not in redis.info("keyspace").get("db0", ""):
        if time.monotonic() > deadline:
            raise Failure("keys that should expire are still there")
        time.sleep(0.05)


def store_bytes(bench):
    """What a finished job takes in Redis, then with its log."""
    jobs, values, logs, limits = bench.sizes["bytes"], [], [], []
    for _ in range(bench.runs):
        with bench.redis() as redis:
            before = redis.memory()
            bench.programs.bench("fill", redis=redis.url, count=jobs, in_flight=4)
            with Worker(bench.programs, bench.directory, redis, None, "run", "--lease-ms", "1000"):
                bench.watch(redis, "zset", COMPLETED, jobs)
            wait_no_leftovers(redis)
            bench.count(redis, jobs, "completed")
            redis.ask("DEL", "{ty:0}:o") # the outbox: what a publisher, which is not here, would have taken from it
            values.append((redis.memory() - before) / jobs)
            bench.programs.bench("logs", redis=redis.url, count=jobs, lines=20, line_bytes=100)
            logs.append((redis.memory() - before) / jobs)
        with bench.redis() as redis:
            before = redis.memory()
            bench.programs.bench("fill", redis=redis.url, count=jobs, in_flight=4)
            bench.programs.bench("raw-cycle", redis=redis.url, count=jobs, way="batched", batch=64, in_flight=4)
            limits.append((redis.memory() - before) / jobs)
    bench.report("bytes_per_job", middle(values), "bytes", limit=middle(limits), at_most=700, jobs=jobs,
                 note="limit: the same record and indexes by minimal scripts")
    bench.report("bytes_per_job_with_20_lines", middle(logs), "bytes", at_most=1600, jobs=jobs)


# What the job of the logs figure runs: lines of 120 bytes with their ends, as trainings print them, as fast as the pipe takes them.
TRAINING = """
import argparse, os, pathlib, random
parser = argparse.ArgumentParser()
parser.add_argument("--model_output_directory")
out = pathlib.Path(parser.parse_known_args()[0].model_output_directory)
chance = random.Random(1)
rest = ["".join(" metric_%d=%.5f" % (n, chance.random()) for n in range(7))[:105].ljust(105, ".") + "\\n" for _ in range(997)]
for block in range(0, {lines}, 500):
    text = "".join(["line %08d %s" % (line, rest[line % 997]) for line in range(block, min(block + 500, {lines}))])
    view = memoryview(text.encode())
    while view:
        view = view[os.write(1, view):]
(out / "model.bin").write_text("nothing")
"""
CONTAINER = "python:3.11-sklearn"


def make_store(store, training):
    """A model store with what trainyard-bench's job names: its data set and its script."""
    script = store / "scripts" / "trainyard" / "digits" / "1"
    (script / "model").mkdir(parents=True)
    (script / "setup.py").write_text("from setuptools import setup\nsetup(name='lines', version='1', packages=['model'])\n")
    (script / "model" / "__init__.py").touch()
    (script / "model" / "training.py").write_text(training)
    data = store / "datasets" / "66c3a1f0d2b94e5f8a7b6c5d"
    data.mkdir(parents=True)
    (data / "dataset.jsonl").write_text('{"image_path": "1.png"}\n')


def logs(bench):
    """A real job that prints as fast as it can: from its pipe into the job's log in Redis, and read back from a responder."""
    lines, rates, limits, resident, reads, stored = bench.sizes["logs"], [], [], [], [], []
    for run in range(bench.runs):
        store = bench.directory / f"logs-{run}"
        make_store(store, TRAINING.format(lines=lines))
        with bench.redis() as redis:
            bench.programs.bench("fill", redis=redis.url, count=1, container=CONTAINER)
            job = redis.ask("ZRANGE", f"{{ty:0}}:s:1:{ORGANIZATION}", 0, 0)[0].hex()
            before = redis.memory()
            with Worker(bench.programs, bench.directory, redis, None, "run", "--store-dir", store) as worker:
                rates.append(bench.watch(redis, "log", f"{{{job}}}:l", lines, first=min(lines // 10, 1000))["rate"])
                bench.watch(redis, "zset", COMPLETED, 1)
                resident.append(worker.resident_bytes("VmHWM"))
            stored.append((redis.memory() - before) / lines)
            with bench.responder(redis) as responder:
                reads.append(bench.programs.bench("read-log", address=responder.address, count=min(lines, 2000)))
            if reads[-1]["lines"] != lines or reads[-1]["missing"]:
                raise Void(f"{lines} lines were printed, and {reads[-1]} read back")
        with bench.redis() as redis:
            limits.append(bench.programs.bench("raw-push", redis=redis.url, count=lines, batch=100, in_flight=16,
                                               line_bytes=120)["rate"])
    limit = middle(limits)
    bench.report("log_lines", middle(rates), "lines/s", limit=limit, at_least=min(500000, round(0.6 * limit)), jobs=bench.runs,
                 lines=lines, note="limit: RPUSH of 100 lines of 120 bytes, 16 under way")
    bench.report("log_page_p99", middle([one["p99_ms"] for one in reads]), "ms", at_most=5, lines=lines,
                 p50_ms=middle([one["p50_ms"] for one in reads]), walk_lines_per_s=middle([one["rate"] for one in reads]))
    bench.report("log_bytes_per_line", middle(stored), "bytes", lines=lines)
    bench.report("worker_resident_logs", middle(resident) / MIB, "MiB", at_most=64, lines=lines)


# What the job of the follow figure runs: each line has the moment at which it was printed.
TIMED = """
import argparse, os, pathlib, random, time
parser = argparse.ArgumentParser()
parser.add_argument("--model_output_directory")
out = pathlib.Path(parser.parse_known_args()[0].model_output_directory)
for line in range({lines}):
    os.write(1, b"at %d\\n" % time.time_ns())
    time.sleep(random.uniform(0.005, 0.045))
(out / "model.bin").write_text("nothing")
"""


def follow(bench):
    """A real job that prints now and then: from its print to the output of trainyard logs --follow."""
    lines, p50s, p99s, worst = bench.sizes["follow"], [], [], []
    for run in range(bench.runs):
        store = bench.directory / f"follow-{run}"
        make_store(store, TIMED.format(lines=lines))
        with bench.redis() as redis:
            bench.programs.bench("fill", redis=redis.url, count=1, container=CONTAINER)
            job = redis.ask("ZRANGE", f"{{ty:0}}:s:1:{ORGANIZATION}", 0, 0)[0].hex()
            job = "-".join((job[:8], job[8:12], job[12:16], job[16:20], job[20:]))
            words = [bench.programs.path("trainyard-responder"), "--listen", "127.0.0.1:0", "--redis", redis.url,
                     "--kafka-brokers", "127.0.0.1:9", "--log-level", "error"]
            delays = []
            with Listener("responder", words, bench.directory) as responder:
                with subprocess.Popen([bench.programs.path("trainyard"), "logs", "--follow", "--json", job],
                                      env={**os.environ, "TRAINYARD_SERVER": responder.address},
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
                    with Worker(bench.programs, bench.directory, redis, None, "run", "--store-dir", store):
                        for line in reader.stdout:
                            now, message = time.time_ns(), json.loads(line)["message"]
                            if message.startswith("at "):
                                delays.append((now - int(message[3:])) / 1e6)
            if reader.returncode or len(delays) != lines:
                raise Void(f"{len(delays)} of {lines} lines came, and the reader ended with {reader.returncode}")
            delays.sort()
            p50s.append(delays[len(delays) // 2])
            p99s.append(delays[len(delays) * 99 // 100])
            worst.append(delays[-1])
    bench.report("print_to_follower_p50", middle(p50s), "ms", lines=lines)
    bench.report("print_to_follower_p99", middle(p99s), "ms", at_most=250, lines=lines, most=max(worst))


# What the job of the figure "blocked" runs: a program that says how long it stood in write().
WRITING = """
import os, sys
open({out!r} + ".begun", "w").close()
os.execv({program!r}, [{program!r}, *{words!r}])
"""


def blocked(bench):
    """How long a program that prints 10 MB/s stands in write(): to a plain file, and as a job, also while Redis stands still."""
    ways = {"file": [], "job": [], "job_redis_stopped": []}
    for run in range(bench.runs):
        out = bench.directory / f"blocked-{run}"
        words = ["write", "--run-ms", str(bench.sizes["write_ms"]), "--line-bytes", "100", "--batch", "10", "--out"]
        program = str(bench.programs.path("trainyard-bench"))
        with open(f"{out}.text", "wb") as text:
            subprocess.run([program, *words, f"{out}.file"], stdout=text, check=True)
        pathlib.Path(f"{out}.text").unlink()
        ways["file"].append(json.loads(pathlib.Path(f"{out}.file").read_text()))
        for way in ("job", "job_redis_stopped"):
            store = bench.directory / f"store-{way}-{run}"
            make_store(store, WRITING.format(out=f"{out}.{way}", program=program, words=[*words, f"{out}.{way}"]))
            ways[way].append(print_as_job(bench, store, pathlib.Path(f"{out}.{way}"), way == "job_redis_stopped"))
    limit = {key: middle([one[key] for one in ways["file"]]) for key in ways["file"][0]}
    for way in ("job", "job_redis_stopped"):
        row = {key: middle([one[key] for one in ways[way]]) for key in limit}
        more = {key: row[key] for key in ("p50_us", "p99_us", "max_us", "writes")}
        bench.report(f"blocked_{way}_p999", row["p999_us"], "us", limit=limit["p999_us"], at_most=1000, **more)
        bench.report(f"blocked_{way}_share", 100 * row["share"], "%", limit=100 * limit["share"], at_most=2,
                     note="limit: the same writes to a plain file")


def print_as_job(bench, store, out, is_stopped):
    """Runs the job of `store` on a worker that ships its log; returns what the job wrote into `out`."""
    with bench.redis() as redis:
        bench.programs.bench("fill", redis=redis.url, count=1, container=CONTAINER)
        with Worker(bench.programs, bench.directory, redis, None, "run", "--store-dir", store, "--lease-ms", "60000") as worker:
            worker.wait_for(pathlib.Path(f"{out}.begun").exists, "does not run the job")
            if is_stopped:
                redis.child.send_signal(signal.SIGSTOP)
            try:
                deadline = time.monotonic() + bench.sizes["write_ms"] / 1000 + 60
                while not out.exists() or not out.read_text().endswith("\n"):
                    if time.monotonic() > deadline:
                        raise Failure("the job that writes does not end")
                    time.sleep(0.05)
            finally:
                redis.child.send_signal(signal.SIGCONT)
    return json.loads(out.read_text())


def split(bench):
    """What a line of 120 bytes costs the worker between the spool and its batch, in processor time."""
    values = {}
    for way in ("plain", "logging", "json", "utf8", "ansi"):
        runs = [bench.programs.bench("split", way=way, line_bytes=120, count=bench.sizes["split"]) for _ in range(bench.runs)]
        values[way] = middle([one["ns_per_line"] for one in runs])
        limit = middle([one["copy_ns_per_line"] for one in runs])
        bench.report(f"split_{way}", values[way], "ns/line", limit=limit, at_most=500,
                     note="limit: memchr and a copy of each line; goal: a quarter of what 500,000 lines/s leave for all")


ALL = {"intake": intake, "null_jobs": null_jobs, "latency": latency, "get": get, "bytes": store_bytes, "logs": logs, "split": split,
       "blocked": blocked, "follow": follow}
