"""One run of chaos: see `--help`, and docs/chaos.md."""
import argparse
import contextlib
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import checker
import clients
import defects
import evidence
import faults
import feed
import yard as yards
import stack

SETTLE_SECONDS = 120
SEEDED_SETTLE_SECONDS = 12  # with a defect, some of it never settles
BETWEEN_SECONDS = 0.8  # after a fault, before the next may strike

MISSES_MAX = 200
EVIDENCE_TRIES = 8
EVIDENCE_SECONDS = 6  # until what a fault has brought is counted
BROUGHT_BY = {"lease_lost": "worker_cut_off", "stale_refused": "worker_cut_off", "gap_replayed": "redis_back_10_s",
              "duplicate_applied": "redis_back_10_s", "publisher_fenced": "publisher_overtaken"}


def arguments():
    parser = argparse.ArgumentParser(
        prog="tests/chaos/run", description="Runs jobs on a real Kafka, a real Redis and several workers while faults strike "
        "at random, and checks from outside that none was lost, done twice or left behind.",
        epilog="Exit codes: 0 everything held and every kind of fault hit; 1 something did not hold; 2 wrong usage; "
        "4 all held, but a kind of fault never hit, so the run proves less than it should; 77 Kafka or Python packages are missing.")
    parser.add_argument("--jobs", type=int, default=500, help="jobs to submit (default 500)")
    parser.add_argument("--seed", type=int, help="of jobs and faults; by default a random one, which is printed")
    parser.add_argument("--faults", type=int, help="faults to strike; by default one for 12 jobs, and one of each kind at least")
    parser.add_argument("--workers", type=int, default=4, help="workers, each with a work directory of its own (default 4)")
    parser.add_argument("--job-seconds", type=float, default=2.0, help="the longest job that ends by itself (default 2)")
    parser.add_argument("--without", action="append", default=[], metavar="KIND", help="leave out this kind of fault")
    parser.add_argument("--only", action="append", default=[], metavar="KIND", help="only these kinds of faults")
    parser.add_argument("--short", action="store_true", help=f"60 jobs and one fault each of {', '.join(faults.SHORT)}")
    parser.add_argument("--any-faults", action="store_true", help="do not insist that every kind of fault hits")
    parser.add_argument("--defect", choices=list(defects.DEFECTS), help="the programs, of a build with TRAINYARD_SEED_DEFECTS, "
                        "have this defect; exit code 0 means that the checker found what it does, 1 that it did not")
    parser.add_argument("--keep", action="store_true", help="leave the directory of the run, with all logs, in place")
    args = parser.parse_args()
    for kind in args.without + args.only:
        if kind not in faults.KINDS:
            parser.error(f"no fault {kind}; there are {', '.join(faults.KINDS)}")
    if args.short:
        args.jobs, args.faults, args.only = 60, len(faults.SHORT), list(faults.SHORT)
    if args.defect:
        args.only = args.only or list(defects.DEFECTS[args.defect].faults)
    if args.only:
        args.without = [kind for kind in faults.KINDS if kind not in args.only]
    args.seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    kinds = [kind for kind in faults.KINDS if kind not in args.without]
    if args.faults is None:
        args.faults = max(args.jobs // 12, sum(faults.KINDS[kind][1] for kind in kinds))
    return args


class Run:
    def __init__(self, args, yard):
        self.args, self.yard = args, yard
        self.snapshots = yards.Snapshots(yard)
        self.faults = faults.Faults(yard, self.snapshots, args.seed, args.without)
        self.feed = feed.Feed(yard)
        self.feed.start()
        yard.start_all()
        self.clients = clients.Clients(yard, args.jobs, args.seed + 1, args.job_seconds)
        self.faults.since, self.faults.wanted, self.faults.fragile_on = self.since, self.clients.wanted, self.fragile_on
        self.counting = threading.Event()
        self.counter = threading.Thread(target=self.count, daemon=True)
        self.began = time.monotonic()

    def count(self):
        reported = 0
        while not self.counting.wait(0.1):
            self.yard.count()
            self.yard.look_whether_back()
            if time.monotonic() - reported > yards.REPORT_SECONDS:
                reported = time.monotonic()
                for machine in self.yard.machines:
                    machine.report()

    def since(self, when):
        """How many jobs have ended, been claimed and been deleted since."""
        return (sum(at > when for at in list(self.clients.ends.values())),
                sum(told.seen > when and told.status == checker.IN_PROGRESS for told in self.feed.told[-2000:]),
                sum((job.deleted or 0) > when for job in self.clients.jobs[-2000:]))

    def fragile_on(self, place):
        """The machines where a job with one attempt has begun, behind this place of what the jobs wrote down, and not ended."""
        fragile = {job.id for job in self.clients.jobs[-2000:] if job.max_attempts == 1}
        found = {}
        for word, job, _attempt, _fence, when, where in self.yard.witnessed(place):
            if job in fragile:
                found[job] = (int(when) / 1e9, self.yard.machine_of(where)) if word == "start" else None
        return [seen for seen in found.values() if seen]

    def go(self):
        self.counter.start()
        self.snapshots.start()
        self.clients.start()
        self.strike_all()
        self.settle()
        return self.judge()

    def strike_all(self):
        """The faults, spread over the submits; those that are left when the submits are out come one behind the other."""
        struck = 0
        while struck < self.args.faults and self.faults.misses < MISSES_MAX:
            share = struck / self.args.faults
            self.clients.allowed = clients.IN_FLIGHT + share * self.args.jobs
            while self.clients.submitted < share * self.args.jobs and self.clients.threads[0].is_alive():
                time.sleep(0.02)
            kind = self.faults.next_kind()
            print(f"{time.monotonic() - self.began:7.1f} s  fault {struck + 1}/{self.args.faults} {kind}, "
                  f"{self.clients.submitted} submitted, {len(self.clients.open)} open", flush=True)
            struck += self.faults.strike(kind)
            time.sleep(BETWEEN_SECONDS)
        self.strike_for_evidence()
        self.clients.allowed = self.args.jobs
        self.clients.faults_are_over.set()

    def missing(self):
        """The kinds of faults that bring what was not seen yet. It is logged and counted a little later than it happens."""
        deadline = time.monotonic() + EVIDENCE_SECONDS
        while True:
            found = self.evidence()
            kinds = [kind for name, kind in BROUGHT_BY.items() if not found[name] and kind in self.faults.counts]
            if not kinds or time.monotonic() > deadline:
                return kinds
            time.sleep(BETWEEN_SECONDS)

    def strike_for_evidence(self):
        """What has struck may have had less effect than it can: some more of the kinds that bring what is missing, in turn."""
        struck = dict.fromkeys(BROUGHT_BY.values(), 0)
        for _ in range(0 if self.args.any_faults else EVIDENCE_TRIES):
            kinds = self.missing()
            if not kinds:
                return
            kind = min(kinds, key=struck.get)
            struck[kind] += 1
            print(f"{time.monotonic() - self.began:7.1f} s  one more fault, for what is missing: {kind}", flush=True)
            self.faults.strike(kind)
            time.sleep(BETWEEN_SECONDS)

    def settle(self):
        """All is healed, and everything is given its time to come to its end."""
        self.snapshots.over.set()
        self.snapshots.join(60)
        self.yard.heal()
        print(f"{time.monotonic() - self.began:7.1f} s  no more faults", flush=True)
        self.clients.threads[0].join(600)
        self.until(self.clients.is_settled, "the clients are done")
        self.clients.stop()
        self.until(self.yard.commands_are_applied, "the commands are applied")
        self.until(self.yard.outbox_is_empty, "the outbox is empty")
        self.until(lambda: not self.without_name(), "the models have their names")
        with contextlib.suppress(Exception):
            self.until(self.feed.reached, "the feed is read")
        self.final = {job.id: self.clients.get(job) for job in self.clients.jobs}
        for job in self.clients.jobs:
            if self.final[job.id] is None:
                self.final[job.id] = self.clients.get(job)
        self.feed.stop()
        self.counting.set()
        self.counter.join()
        self.yard.count()
        self.yard.check_alive()
        for machine in self.yard.machines:
            machine.stop(60)

    def until(self, check, what):
        seconds = SEEDED_SETTLE_SECONDS if self.args.defect else SETTLE_SECONDS
        deadline = time.monotonic() + seconds
        while not check():
            if time.monotonic() > deadline:
                print(f"  not within {seconds} s: {what}", flush=True)
                return
            time.sleep(0.1)

    # ---- models

    def model(self, job):
        place = self.yard.store / "models" / stack.ORGANIZATION / job.model / "1" / "attempt"
        with contextlib.suppress(OSError, ValueError):
            attempt, fence = place.read_text().split()
            return int(attempt), int(fence)
        return None

    def without_name(self):
        last = {reply.job: reply.status for reply in list(self.clients.replies)}  # an end may have been taken back
        return [job for job in self.clients.jobs
                if last.get(job.id) == checker.COMPLETED and not job.delete_asked and not self.model(job)]

    # ---- the verdict

    def history(self):
        witnesses = []
        for word, job, attempt, fence, ns, where in self.yard.witnessed():
            witnesses.append(checker.Witness(job, word, int(attempt), int(fence), int(ns) / 1e9, self.yard.machine_of(where)))
        models = {job.id: self.model(job) for job in self.clients.jobs}
        return checker.History(self.clients.jobs, self.clients.replies, self.feed.told, witnesses, self.final, models,
                               self.yard.outages, self.yard.wipes, self.yard.away)

    def evidence(self):
        # Those that the responder has applied already, and those that were published twice. In this order: what comes meanwhile must not
        # look like what a fault has brought.
        logs, by_kafka = list(self.yard.log_text().values()), self.clients.by_kafka
        planned = self.yard.submits() - by_kafka
        return evidence.read(logs, self.yard.counters, planned)

    def fragile(self):
        """How it went with the jobs that may be lost few times only."""
        jobs = {job.id: job for job in self.clients.jobs if job.max_attempts}
        last = {told.job: told for told in self.feed.told if told.job in jobs and not told.null and not told.deleted}
        failed = sum(told.status == checker.FAILED for told in last.values())
        back = sum(len(set(told.handed_back)) for told in last.values())
        return f"fragile: {len(jobs)} jobs, {failed} FAILED since their workers were lost, {back} attempts given back"

    def judge(self):
        history, seen = self.history(), self.evidence()
        violations = checker.check(history)
        kinds = dict.fromkeys(checker.KINDS, 0)
        for violation in violations:
            kinds[violation.kind] += 1
        for violation in violations[:6 if self.args.defect else 60]:
            print(f"VIOLATION {violation.kind} {violation.job}: {violation.text}")
            self.tell(history, violation.job)
        trouble = self.clients.failures + self.yard.troubles
        if short := clients.shortfall(len(self.clients.jobs), self.args.jobs):
            trouble.append(short)
        if self.feed.failure:
            trouble.append(f"the feed: {self.feed.failure}")
        missing = [name for name, count in self.faults.counts.items() if not count]
        missing += [name for name, count in seen.items() if not count]
        for line in trouble:
            print(f"TROUBLE {line}")
        states = {}
        for status in self.final.values():
            name = "no answer" if status is None else checker.NAMES[status]
            states[name] = states.get(name, 0) + 1
        print("jobs: " + ", ".join(f"{name} {count}" for name, count in sorted(states.items())))
        print("faults: " + ", ".join(f"{name} {count}" for name, count in self.faults.counts.items()))
        print(self.fragile())
        print("evidence: " + ", ".join(f"{name} {count}" for name, count in seen.items()))
        failed = bool(violations or trouble)
        print(f"chaos: {len(history.jobs)} jobs, {sum(self.faults.counts.values())} faults, "
              + ", ".join(f"{kind} {count}" for kind, count in kinds.items())
              + (f"; never hit: {', '.join(missing)}" if missing else "")
              + f"; {len(history.feed)} events, {len(history.replies)} replies, {time.monotonic() - self.began:.0f} s, "
              f"seed {self.args.seed}: {'FAILED' if failed else 'ok'}", flush=True)
        if self.args.defect:
            return defects.judge(self.args.defect, kinds)
        return 1 if failed else 4 if missing and not self.args.any_faults else 0

    def tell(self, history, job_id):
        job = next(job for job in history.jobs if job.id == job_id)
        print(f"    {job}, plan {self.clients.plans[job_id]}")
        for seen in history.witnesses:
            if seen.job == job_id:
                print(f"    {seen.time:.3f} {seen.word} of attempt {seen.attempt}, fence {seen.fence}, on {seen.machine}")
        machines = {seen.machine: seen.time for seen in history.witnesses if seen.job == job_id}
        for away in history.away:
            if away.end > machines.get(away.machine, away.end) and away.begin < machines[away.machine] + 30:
                print(f"    {away.begin:.3f} to {away.end:.3f} {away.machine} away: {away.kind}")
        for told in history.feed:
            if told.job == job_id:
                print(f"    feed {told.place}: {told.order} {checker.NAMES[told.status]} attempt {told.attempt}, "
                      f"fence {told.fence}, reason {told.reason}, losses {told.losses}, seen {told.seen:.3f}{', deleted' if told.deleted else ''}{', null' if told.null else ''}"
                      f"{', canceled' if told.canceled else ''}")
        last = None
        for reply in history.replies:
            if reply.job == job_id and reply.status != last:
                last = reply.status
                print(f"    {reply.asked:.3f} a client was told {checker.NAMES[reply.status]}")


def main():
    args = arguments()
    if args.keep:
        os.environ["TRAINYARD_KEEP"] = "1"
    if args.defect:
        os.environ["TRAINYARD_SEED_DEFECT"] = args.defect
    print(f"chaos: {args.jobs} jobs, {args.faults} faults, {args.workers} workers, seed {args.seed}", flush=True)
    with yards.Yard(args.workers) as yard:
        return Run(args, yard).go()


if __name__ == "__main__":
    sys.exit(main())
