"""The faults: one function each, drawn from a seeded deck so that every kind comes as often as the others."""
import contextlib
import math
import os
import random
import signal
import subprocess
import threading
import time

import checker
import proxy
import yard as yards

LEASE = yards.LEASE_MS / 1000
EVENTS_LEASE = 5.0
FRAGILE_AT_ONCE = 6     # a fault that is for them asks for so many
TOLD_SECONDS = 0.7      # until clients have seen what became of a job
STARTED_SECONDS = 0.6   # until the store knows that an attempt has started
RESTART_SECONDS = 5     # until a worker that was started again speaks for what it has
KILLED_LOSES_SECONDS = 3  # a Redis that is killed has not written its last second, or with a slow disk two


class Missed(Exception):
    """The fault found nothing to strike; it is not counted."""


class Faults:
    def __init__(self, yard, snapshots, seed, gated=()):
        self.yard, self.snapshots, self.random = yard, snapshots, random.Random(seed)
        self.since = None  # the run's: from a time, how many jobs have (ended, been claimed, been deleted) since
        self.wanted, self.fragile_on = None, None  # the run's: plans of jobs to be submitted, see Run.fragile_on
        self.counts = {name: 0 for name in KINDS if name not in gated}
        self.deck, self.dealt, self.misses = [], False, 0
        self.over = threading.Event()
        self.kind = ""  # of the fault that strikes

    def next_kind(self):
        if not self.deck:
            # Once each at first, so that a short run has all.
            self.deck = [name for name, count in self.counts.items() for _ in range(KINDS[name][1] if self.dealt else 1)]
            self.dealt = True
            self.random.shuffle(self.deck)
        # A restore waits in the deck for its snapshot.
        ready = [at for at, name in enumerate(self.deck) if name not in RESTORES or self.snapshots.aged(*RESTORES[name])]
        return self.deck.pop(ready[-1] if ready else -1)

    def strike(self, kind):
        """One fault. False: it missed."""
        self.yard.check_alive()
        self.kind = kind
        try:
            KINDS[kind][0](self)
        except Missed as why:
            print(f"  {kind}: missed: {why}", flush=True)
            self.misses += 1
            self.deck.insert(0, kind)
            return False
        self.counts[kind] += 1
        return True

    def wait(self, seconds):
        self.over.wait(seconds)

    # ---- workers

    @contextlib.contextmanager
    def one(self, name=None):
        """A machine that has no other fault."""
        free = [machine for machine in self.yard.machines if not machine.busy.locked() and name in (None, machine.name)]
        if len([m for m in self.yard.machines if m.busy.locked()]) >= len(self.yard.machines) - 1 or not free:
            raise Missed("every machine has its fault")
        machine = self.random.choice(free)
        with machine.busy:
            began = time.time()
            try:
                yield machine
            finally:
                self.note_away(machine.name, began)

    def note_away(self, name, began):
        self.yard.away.append(checker.Away(name, began, time.time() + RESTART_SECONDS, self.kind))

    def where_fragile_begins(self, but=None):
        """The name of a machine where a job that has one attempt only has just begun, and when; None: there is none."""
        place, found = self.yard.witness.stat().st_size, []
        self.wanted.extend(["fragile"] * FRAGILE_AT_ONCE)
        self.until(lambda: found.extend(seen for seen in self.fragile_on(place) if seen[1] != but) or found, 5)
        self.wanted.clear()
        return found[-1] if found else None

    def worker_killed(self):
        with self.one() as machine:
            machine.report_last()
            machine.process.kill()
            self.wait(self.random.choice([0, 0, 0.5, 2.5 * LEASE]))
            machine.start(wait=False)

    def worker_stopped(self):
        """With a job on it that must not pay for that with its only attempt."""
        _, name = self.where_fragile_begins() or (0, None)
        with self.one(name) as machine:
            machine.stop(40)
            machine.start(wait=False)

    def machine_killed(self):
        """The worker, its supervisors and their jobs at once; half of the time the disk is gone with it."""
        with self.one() as machine:
            machine.report_last()
            machine.signal_all(signal.SIGSTOP)
            machine.signal_all(signal.SIGKILL)
            machine.process.child.wait()
            if self.random.random() < 0.5:
                machine.wipe()
                self.yard.wipes.append((machine.name, time.time()))
            self.wait(self.random.choice([0, 2.5 * LEASE]))
            machine.start(wait=False)

    def worker_frozen(self):
        with self.one() as machine:
            machine.process.signal(signal.SIGSTOP)
            self.wait(self.random.uniform(1.5, 4) * LEASE)
            machine.process.signal(signal.SIGCONT)

    def machine_frozen(self):
        with self.one() as machine:
            machine.signal_all(signal.SIGSTOP)
            self.wait(self.random.uniform(2, 5) * LEASE)
            machine.signal_all(signal.SIGCONT)

    def supervisor_killed(self):
        with self.one() as machine:
            found = []
            if not self.until(lambda: found.extend(machine.supervisors()) or found, 5):
                raise Missed("no supervisor runs")
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(found), signal.SIGKILL)

    def publisher_overtaken(self):
        """Its events are on their way, and arrive behind what another publisher has written meanwhile."""
        self.overtake(proxy.KAFKA_PRODUCE)

    def commit_overtaken(self):
        """Its events are there, and its word that they count arrives when another publisher has the shard."""
        self.overtake(proxy.KAFKA_END_TXN)

    def overtake(self, request):
        """The publisher is frozen with this request on its way to Kafka, and goes on when another one has the shard and has
        written on: first what it had sent arrives, then it wakes."""
        name = self.yard.publisher()
        if not name:
            raise Missed("no publisher")
        with self.one(name) as machine:
            line = self.yard.kafka_line
            line.holds = request
            try:
                held = self.until(lambda: line.held, 5)
                machine.process.signal(signal.SIGSTOP)
                if not held:
                    raise Missed("no transaction was under way")
                if not self.until(lambda: self.yard.publisher() not in (None, name), EVENTS_LEASE + 15):
                    raise Missed("nobody took over")
                time.sleep(1.5)  # the other one opens, which is what fences this one
            finally:
                line.release()
                time.sleep(0.2)
                machine.process.signal(signal.SIGCONT)

    def until(self, check, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.over.is_set():
            if check():
                return True
            time.sleep(0.02)
        return False

    # ---- lines

    def redis_line_cut(self):
        began, line = time.time(), self.random.choice(self.yard.lines_of_redis())
        if not line.cut():
            raise Missed("no connection")
        if line is self.yard.responder_line:
            self.note_away("responder", began)

    def kafka_lines_cut(self):
        began = time.time()
        if not self.yard.kafka_line.cut():
            raise Missed("no connection")
        self.note_away("kafka", began)

    def worker_cut_off(self):
        """No way to Redis for longer than a lease, while jobs run on."""
        with self.one() as machine:
            machine.line.refuse()
            self.wait(self.random.uniform(1.5, 4) * LEASE)
            machine.line.heal()

    def reply_lost(self):
        line = self.random.choice(self.yard.lines_of_redis()[1:])
        before = line.lost
        line.lose += 1
        hit = self.until(lambda: line.lost > before, 5)
        line.lose = 0
        if not hit:
            raise Missed("no call came")

    # ---- servers

    def rebuild_asked(self):
        """The operator has all of Kafka read again, and once more while that goes on: of a store that is well or, half of the time, of
        one that was just killed."""
        if self.random.random() < 0.5:
            self.redis_restarted()
        for _ in range(2):
            done = subprocess.run([yards.stack.BUILD / "bin/trainyard", "rebuild", "--redis", self.yard.redis.url, "--max-wait-s", "0"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
            if done.returncode:
                raise Missed(f"trainyard rebuild: exit {done.returncode}: {done.stderr}")
            self.wait(self.random.choice([0, 0.3, 1]))

    def redis_restarted(self):
        with self.yard.redis_busy:
            self.yard.count()
            began, is_killed = time.time(), self.random.random() < 0.5
            if is_killed:
                self.yard.redis.process.kill()
            else:
                self.yard.redis.stop()
            self.wait(self.random.choice([0, LEASE]))
            self.yard.redis.start()
            if is_killed:
                self.yard.was_out("killed", began, began - KILLED_LOSES_SECONDS)
            else:
                self.yard.was_out("stopped", began, math.inf)

    def kafka_restarted(self):
        began = time.time()
        self.yard.broker.stop(now=self.random.random() < 0.5)
        self.wait(self.random.choice([0, 2]))
        self.yard.broker.start()
        self.note_away("kafka", began)

    def restore(self, youngest, oldest):
        """The power goes, and what comes back is so old; jobs have ended, been claimed and been deleted since."""
        if not self.until(lambda: self.snapshots.aged(youngest, oldest), youngest + 15):
            raise Missed("no snapshot is so old")
        with self.yard.redis_busy:
            when, data = self.snapshots.aged(youngest, oldest) or (None, None)
            if not data or not self.until(lambda: all(self.since(when)), 8):
                raise Missed(f"ended, claimed, deleted since: {data and self.since(when)}")
            print(f"  back {time.time() - when:.0f} s; ended, claimed, deleted since: {self.since(when)}", flush=True)
            self.yard.count()
            began = time.time()
            self.yard.redis.restore(data)
            self.yard.count()
            # What lies between is no past of this store any more.
            self.snapshots.taken = [kept for kept in self.snapshots.taken if kept[0] <= when]
            self.yard.was_out("restored", began, when)

    def redis_back_10_s(self):
        self.restore(*RESTORES["redis_back_10_s"])

    def redis_back_60_s(self):
        self.restore(*RESTORES["redis_back_60_s"])

    def redis_back_unpublished(self):
        """Back to before the end of jobs whose end Kafka does not know yet: only the workers know of it."""
        line = self.yard.kafka_line
        with self.yard.redis_busy:
            self.yard.count()
            taken, data = time.time(), self.yard.redis.snapshot()
            line.holds = proxy.KAFKA_END_TXN
            try:
                if not self.until(lambda: line.held, 5):
                    raise Missed("no transaction was under way")
                before, held = self.yard.ended(), time.time()
                if not self.until(lambda: self.yard.ended() >= before + 2 and self.since(held)[0], 2.5):
                    raise Missed("no job ended")
                self.yard.count()
                began = time.time()
                self.yard.redis.restore(data)
                self.yard.count()
                self.snapshots.taken = [kept for kept in self.snapshots.taken if kept[0] < began - 5]
                self.yard.was_out("restored", began, taken)
            finally:
                line.release()


    def redis_back_given_up(self):
        """Back to before a lease passed and its job, with no attempt left, was given up, which Kafka does not know yet. The
        attempt runs on, on a machine that has no way to Redis meanwhile, and then tells another end."""
        line, publisher = self.yard.kafka_line, self.yard.publisher()
        when, name = self.where_fragile_begins(but=publisher) or (0, None)
        if not name:
            raise Missed("no job with one attempt began")
        self.wait(max(when + STARTED_SECONDS - time.time(), 0))
        with self.one(name) as machine, self.yard.redis_busy:
            self.yard.count()
            line.holds = proxy.KAFKA_END_TXN
            try:
                machine.line.refuse()
                taken, data = time.time(), self.yard.redis.snapshot()
                before = self.yard.leases_taken()
                if not self.until(lambda: line.held, 5):
                    raise Missed("no transaction was under way")
                if not self.until(lambda: self.yard.leases_taken() > before, 4 * LEASE):
                    raise Missed("no lease passed")
                self.wait(TOLD_SECONDS)
                self.yard.count()
                began = time.time()
                self.yard.redis.restore(data)
                self.yard.count()
                self.snapshots.taken = [kept for kept in self.snapshots.taken if kept[0] < began - 5]
                self.yard.was_out("restored", began, taken)
            finally:
                line.release()
                machine.line.heal()


# How old the snapshot is, in seconds: at least, at most.
RESTORES = {"redis_back_10_s": (10, 25), "redis_back_60_s": (60, 120)}

# Of a short run: what it takes to bring out all that a run must show.
SHORT = ("worker_killed", "worker_stopped", "machine_frozen", "worker_cut_off", "supervisor_killed", "publisher_overtaken",
         "reply_lost", "redis_restarted", "redis_back_10_s", "redis_back_unpublished")

# The function, and how many of it are in a deck.
KINDS = {
    "worker_killed": (Faults.worker_killed, 2),
    "worker_stopped": (Faults.worker_stopped, 1),
    "machine_killed": (Faults.machine_killed, 2),
    "worker_frozen": (Faults.worker_frozen, 2),
    "machine_frozen": (Faults.machine_frozen, 2),
    "supervisor_killed": (Faults.supervisor_killed, 2),
    "publisher_overtaken": (Faults.publisher_overtaken, 1),
    "commit_overtaken": (Faults.commit_overtaken, 1),
    "redis_line_cut": (Faults.redis_line_cut, 2),
    "kafka_lines_cut": (Faults.kafka_lines_cut, 1),
    "worker_cut_off": (Faults.worker_cut_off, 2),
    "reply_lost": (Faults.reply_lost, 4),
    "redis_restarted": (Faults.redis_restarted, 1),
    "kafka_restarted": (Faults.kafka_restarted, 1),
    "rebuild_asked": (Faults.rebuild_asked, 1),
    "redis_back_10_s": (Faults.redis_back_10_s, 1),
    "redis_back_60_s": (Faults.redis_back_60_s, 1),
    "redis_back_unpublished": (Faults.redis_back_unpublished, 1),
    "redis_back_given_up": (Faults.redis_back_given_up, 1),
}
