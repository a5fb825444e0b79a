"""What must hold of a run, from what the outside saw: the clients' replies, the feed, what the jobs themselves wrote down, the public
models, and when which fault struck.

`check` takes a History and gives the violations, each with its kind: lost, double, changed, canceled, deleted, stuck, feed.
It asks no server anything.
"""
import collections
import dataclasses
import math

PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELED, CANCELING = range(1, 7)
TERMINAL = (COMPLETED, FAILED, CANCELED)
NOT_FOUND = 0
REASON_HANDED_BACK = 16
CLOCK_SECONDS = 1.0    # what was noted of an outage, and by whom, may be that much apart
APPLY_SECONDS = 5.0    # until a cancel that was acknowledged keeps its job from being claimed
APPLY_LATE_SECONDS = 30.0  # the same, where somebody was away who may have had to apply it
NAMES = ("not found", "PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELED", "CANCELING")
KINDS = ("lost", "double", "changed", "canceled", "deleted", "stuck", "feed")


@dataclasses.dataclass
class Job:
    """What the client did with one job. Times are of the wall clock, in seconds; None: it did not happen."""
    id: str
    model: str = ""             # its name
    ends_alone: bool = True     # False: it runs until it is canceled
    may_fail: bool = False
    max_attempts: int = 0       # of its own; 0: it may be lost as often as it likes
    submitted: float = None     # acknowledged
    cancel_asked: float = None  # first tried, whether or not acknowledged
    canceled: float = None      # acknowledged
    canceled_by_rpc: bool = False  # by a reply of the responder, not by Kafka alone
    cancel_first: bool = False  # acknowledged before the submit was sent
    deleted: float = None       # acknowledged
    delete_asked: float = None


@dataclasses.dataclass
class Reply:
    """What Get said of a job."""
    job: str
    asked: float
    answered: float
    status: int


@dataclasses.dataclass
class Witness:
    """What a job's process wrote down."""
    job: str
    word: str  # start, end
    attempt: int
    fence: int
    time: float
    machine: str = ""


@dataclasses.dataclass
class Outage:
    """The store was away."""
    begin: float
    end: float                   # it may show what was until then: brought back, and a lease and more for those who know
    lost_from: float = math.inf  # what it was told from then on it may have lost; by default nothing
    kind: str = "restored"       # or killed, stopped: it was restarted


@dataclasses.dataclass
class Away:
    """One that could not speak for what it had done. Kafka and the responder's line to the store are there, too, as "kafka" and
    "responder"."""
    machine: str
    begin: float
    end: float
    kind: str = ""  # the fault


@dataclasses.dataclass
class History:
    jobs: list
    replies: list
    feed: list      # feed.Told in the order of each partition; None: there was none to read
    witnesses: list
    final: dict     # job: status by Get at the end
    models: dict    # job: (attempt, fence) in the model under the job's public name
    outages: list   # of Outage
    wipes: list = dataclasses.field(default_factory=list)  # (machine, when): its disk was lost, and what only it knew
    away: list = dataclasses.field(default_factory=list)   # of Away


@dataclasses.dataclass
class Violation:
    kind: str
    job: str
    text: str


class Checker:
    def __init__(self, history):
        self.history, self.found = history, []
        self.replies = collections.defaultdict(list)
        for reply in history.replies:
            self.replies[reply.job].append(reply)
        self.feed = collections.defaultdict(list)
        for told in history.feed or ():
            self.feed[told.job].append(told)
        self.witnesses = collections.defaultdict(list)
        for witness in history.witnesses:
            self.witnesses[witness.job].append(witness)

    def complain(self, kind, job, text):
        self.found.append(Violation(kind, job, text))

    def check(self):
        for job in self.history.jobs:
            if job.submitted:
                self.check_job(job)
        return self.found

    def check_job(self, job):
        final = self.history.final.get(job.id, NOT_FOUND)
        self.check_end(job, final)
        self.check_replies(job, final)
        self.check_cancel(job, final)
        if self.history.feed is not None:
            self.check_feed(job, final)
        self.check_effect(job, final)
        self.check_claims(job)
        self.check_attempts(job, final)

    # ---- what a fault excuses

    def first_end(self, job):
        return next((reply for reply in self.replies[job.id] if reply.status in TERMINAL), None)

    def may_have_lost(self, ended):
        """The outages in which the store may have lost an end that a client was told; one of the next may find it lost still."""
        until = ended.answered
        for outage in sorted(self.history.outages, key=lambda outage: outage.begin):
            if outage.begin >= ended.asked - CLOCK_SECONDS and outage.lost_from <= until:
                yield outage
                until = max(until, outage.end)

    def is_shown_late(self, ended, reply):
        """While the store comes back it may show what was before."""
        return any(reply.answered >= outage.begin and reply.asked <= outage.end for outage in self.may_have_lost(ended))

    def may_be_forgotten(self, job, ended, until):
        """The store went back to before an end that a client was told, Kafka did not know it, and the worker that does could not
        say so in time: its disk was lost, or it was away. A cancel is in Kafka, and no other end comes of it."""
        if ended.status == CANCELED:
            return False
        kafka_knew = min((told.seen for told in self.feed[job.id] if told.deleted or told.status in TERMINAL), default=math.inf)
        knows = {}
        for seen in self.witnesses[job.id]:
            if seen.word == "end" and seen.time <= ended.answered:
                knows.setdefault(seen.machine, seen.time)
        for outage in self.may_have_lost(ended):
            if outage.begin >= until or kafka_knew < outage.begin:
                continue
            if any(machine in knows and knows[machine] <= wiped < until for machine, wiped in self.history.wipes):
                return True
            if any(away.machine in knows and away.begin < until and away.end > outage.begin for away in self.history.away):
                return True
        return False

    # ---- each on its own

    def check_end(self, job, final):
        if job.deleted:
            if final != NOT_FOUND:
                self.complain("deleted", job.id, f"its delete was acknowledged, and at the end it is {NAMES[final]}")
        elif final == NOT_FOUND:
            if not job.delete_asked:
                self.complain("lost", job.id, "it was accepted, and at the end nobody knows it")
        elif final not in TERMINAL:
            what = "nobody answers for it" if final is None else f"it is {NAMES[final]}"
            self.complain("stuck", job.id, f"{what} after everything came to rest")
        elif final == FAILED and not job.may_fail:
            self.complain("lost", job.id, "it FAILED, and nothing in it can")

    def check_replies(self, job, final):
        """The first end that a client was told of stands: it is never another one, but where the store forgot it, the worker that
        knows it was away, and the job has no other attempt or was canceled. What was before may be shown while the store comes back, and where it
        had to be done once more."""
        ended = None
        for reply in self.replies[job.id]:
            if ended is None:
                if reply.status in TERMINAL:
                    ended = reply
            elif reply.status == NOT_FOUND and job.delete_asked and reply.answered >= job.delete_asked:
                continue
            elif reply.status != ended.status:
                if self.is_given_up(job, ended, reply):
                    ended = reply
                    continue
                if reply.status == CANCELING and self.is_canceled_again(ended, reply):
                    continue
                is_before = reply.status not in TERMINAL and reply.status != NOT_FOUND
                if not is_before or not (self.is_shown_late(ended, reply) or self.may_be_forgotten(job, ended, reply.asked)):
                    self.complain("changed", job.id, f"a client was told {NAMES[ended.status]}, and later {NAMES[reply.status]}")
                    return
        if ended and final not in (ended.status, None) and not (final == NOT_FOUND and job.delete_asked):
            self.complain("changed", job.id, f"a client was told {NAMES[ended.status]}, and at the end it is {NAMES[final]}")

    def is_given_up(self, job, ended, reply):
        """What its worker knew is lost, and the job has no attempt left, or its cancel, which is in Kafka, ends it."""
        is_over = job.max_attempts if reply.status == FAILED else job.cancel_asked if reply.status == CANCELED else None
        return bool(is_over) and self.may_be_forgotten(job, ended, reply.asked)

    def is_canceled_again(self, ended, reply):
        """A cancel that the store has lost is done once more, and over when Kafka knows that nobody has the job."""
        return ended.status == CANCELED and any(outage.begin <= reply.answered for outage in self.may_have_lost(ended))

    def check_cancel(self, job, final):
        """A job that does not end by itself can only have ended by its cancel. One that does may have been quicker; but no job is
        claimed any more when its cancel has had its time to be applied."""
        if not job.canceled:
            return
        if not job.ends_alone and final not in (CANCELED, NOT_FOUND, None):
            self.complain("canceled", job.id, f"its cancel was acknowledged, and it is {NAMES[final]}")
        elif job.cancel_first and final in (COMPLETED, FAILED):
            self.complain("canceled", job.id, f"it was canceled before its submit, and it is {NAMES[final]}")
        applied = max(job.canceled, job.submitted)
        for attempt, fence in sorted({(seen.attempt, seen.fence) for seen in self.witnesses[job.id] if seen.word == "start"}):
            claimed = fence / 1e6  # a fence is the time of its claim, in microseconds
            if claimed > applied + self.time_to_apply(job, claimed):
                self.complain("canceled", job.id, f"attempt {attempt} was claimed {claimed - job.canceled:.3f} s after its cancel "
                              f"was acknowledged")

    def time_to_apply(self, job, claimed):
        """How long an acknowledged cancel may take until no worker claims its job."""
        def meets(fault):
            return fault.begin <= claimed and fault.end >= job.cancel_asked
        if any(meets(outage) for outage in self.history.outages):
            return math.inf
        # The responder has applied its own by the time of its reply; those of Kafka wait for the workers that read them.
        needed = [away for away in self.history.away if not job.canceled_by_rpc or away.machine == "responder"]
        return APPLY_LATE_SECONDS if any(meets(away) for away in needed) else APPLY_SECONDS

    def check_feed(self, job, final):
        ended, completed, highest, last, values = None, set(), None, None, {}
        for told in self.feed[job.id]:
            if told.null:
                values.clear()  # a job that comes now is another one
                continue
            if values.setdefault(told.order, told.digest) != told.digest:
                self.complain("feed", job.id, f"what {told.order} says at {told.place} is not what it said before")
            if highest and told.order < highest:
                self.complain("feed", job.id, f"{told.order} comes after {highest} at {told.place}")
            highest = max(highest or told.order, told.order)
            last = told
            if told.deleted:
                continue
            if told.status == COMPLETED:
                completed.add((told.attempt, told.fence))
            if ended and told.status != ended.status:
                self.complain("changed", job.id, f"the feed says {NAMES[ended.status]} at {ended.place} and "
                              f"{NAMES[told.status]} at {told.place}")
                ended = None
            elif told.status in TERMINAL and not ended:
                ended = told
        if len(completed) > 1:
            self.complain("double", job.id, f"COMPLETED by more than one attempt: {sorted(completed)}")
        if last is None:
            # Deleted before Kafka had heard of it, and then the store went back: the commands, applied again, make no job of it.
            if not (job.deleted and final == NOT_FOUND and any(
                    outage.begin >= job.submitted - CLOCK_SECONDS and outage.lost_from <= job.deleted + CLOCK_SECONDS
                    for outage in self.history.outages)):
                self.complain("feed", job.id, "it does not stand in the feed")
        elif final is not None and (final == NOT_FOUND and not last.deleted or final != NOT_FOUND and last.status != final):
            self.complain("feed", job.id, f"its last event is {'a deletion' if last.deleted else NAMES[last.status]}, and it is "
                          f"{NAMES[final]}")

    def check_effect(self, job, final):
        """COMPLETED is the end of one attempt that came to its own end, and the model is that attempt's."""
        ends = {(seen.attempt, seen.fence) for seen in self.witnesses[job.id] if seen.word == "end"}
        told = [told for told in self.feed[job.id] if told.status == COMPLETED and not told.deleted]
        by = (told[-1].attempt, told[-1].fence) if told else None
        if by and by not in ends:
            self.complain("double", job.id, f"COMPLETED by attempt {by}, which never came to its end")
        if final == COMPLETED and not ends:
            self.complain("double", job.id, "COMPLETED, and no attempt came to its end")
        model = self.history.models.get(job.id)
        if final == COMPLETED:
            if not model:
                self.complain("lost", job.id, "COMPLETED, and its model has no public name")
            elif by and model != by:
                self.complain("double", job.id, f"COMPLETED by attempt {by}, and the model is of {model}")
        elif model and final in (FAILED, CANCELED):
            self.complain("double", job.id, f"{NAMES[final]}, and it has a public model, of {model}")

    def check_claims(self, job):
        """One claim starts one process; and a job is not claimed any more after a client was told its end."""
        starts = collections.Counter((seen.attempt, seen.fence) for seen in self.witnesses[job.id] if seen.word == "start")
        for claim, count in starts.items():
            if count > 1:
                self.complain("double", job.id, f"attempt {claim} was started {count} times")
        ended = self.first_end(job)
        if not ended:
            return
        for attempt, fence in starts:
            claimed = fence / 1e6
            if claimed > ended.answered and not self.may_be_forgotten(job, ended, claimed):
                self.complain("double", job.id, f"a client was told {NAMES[ended.status]}, and {claimed - ended.answered:.3f} s "
                              f"later attempt {attempt} was claimed")

    def check_attempts(self, job, final):
        """One that has few attempts FAILED only when they are used up; and what a worker that stops gives back is not used."""
        told = next((told for told in self.feed[job.id] if told.status == FAILED and not told.deleted), None)
        if not job.max_attempts or not told:
            return
        used, given_back = told.losses + told.errors, len(set(told.handed_back))
        if used < job.max_attempts:
            self.complain("lost", job.id, f"FAILED with {used} of {job.max_attempts} attempts used, {given_back} given back")
        elif told.reason == REASON_HANDED_BACK or used > told.attempt - given_back:
            self.complain("lost", job.id, f"FAILED by {told.losses} lost workers and {told.errors} errors; of its {told.attempt} "
                          f"attempts {given_back} were given back")
        elif self.was_only_stopped(job, told):
            self.complain("lost", job.id, f"FAILED since its worker was lost, and that was only stopped")

    def was_only_stopped(self, job, told):
        """Of all faults only the stop of its worker met the last attempt."""
        claims = [seen for seen in self.witnesses[job.id] if seen.attempt == told.attempt and seen.fence <= told.fence]
        if not claims:
            return False
        last = max(claims, key=lambda seen: seen.fence)

        def meets(fault):
            return fault.begin <= told.seen and fault.end >= last.fence / 1e6
        met = {away.kind for away in self.history.away if away.machine == last.machine and meets(away)}
        return met == {"worker_stopped"} and not any(meets(outage) for outage in self.history.outages)


def check(history):
    return Checker(history).check()
