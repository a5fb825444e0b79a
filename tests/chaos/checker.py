"""What must hold of a run, from what the outside saw: the clients' replies, the feed, and what the jobs themselves wrote down.

`check` takes a History and gives the violations, each with its kind: lost, double, changed, canceled, deleted, stuck, feed.
It asks no server anything.
"""
import collections
import dataclasses

PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELED, CANCELING = range(1, 7)
TERMINAL = (COMPLETED, FAILED, CANCELED)
NOT_FOUND = 0
WIPE_SECONDS = 30  # within these before a reply, a disk may have gone that held the end it tells of
NAMES = ("not found", "PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELED", "CANCELING")
KINDS = ("lost", "double", "changed", "canceled", "deleted", "stuck", "feed")


@dataclasses.dataclass
class Job:
    """What the client did with one job. Times are of the wall clock, in seconds; None: it did not happen."""
    id: str
    model: str = ""             # its name
    ends_alone: bool = True     # False: it runs until it is canceled
    may_fail: bool = False
    submitted: float = None     # acknowledged
    cancel_asked: float = None  # first tried, whether or not acknowledged
    canceled: float = None      # acknowledged
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
class History:
    jobs: list
    replies: list
    feed: list      # feed.Told in the order of each partition; None: there was none to read
    witnesses: list
    final: dict     # job: status by Get at the end
    models: dict    # job: (attempt, fence) in the model under the job's public name
    outages: list   # (from, to): the store went back then, and may show what was until `to`
    wipes: list = dataclasses.field(default_factory=list)  # (machine, when): its disk was lost, and what only it knew
    away: list = dataclasses.field(default_factory=list)   # (machine, from, to): it could not speak for what it had done


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

    def in_outage(self, reply):
        return any(reply.answered >= begin and reply.asked <= end for begin, end in self.history.outages)

    def check_replies(self, job, final):
        """The first end that a client was told of stands. While the store comes back it may show what was before."""
        ended = None
        for reply in self.replies[job.id]:
            if ended is None:
                if reply.status in TERMINAL:
                    ended = reply
            elif reply.status == NOT_FOUND and job.delete_asked and reply.answered >= job.delete_asked:
                continue
            elif reply.status != ended.status and not self.in_outage(reply):
                self.complain("changed", job.id, f"a client was told {NAMES[ended.status]}, and later {NAMES[reply.status]}")
                return
        if ended and final not in (ended.status, None) and not (final == NOT_FOUND and job.delete_asked):
            self.complain("changed", job.id, f"a client was told {NAMES[ended.status]}, and at the end it is {NAMES[final]}")

    def check_cancel(self, job, final):
        """A job that does not end by itself can only have ended by its cancel; one that does must have begun before it."""
        if not job.canceled or final in (CANCELED, NOT_FOUND, None) or (final not in TERMINAL and job.ends_alone):
            return
        if not job.ends_alone:
            self.complain("canceled", job.id, f"its cancel was acknowledged, and it is {NAMES[final]}")
        elif job.cancel_first:
            self.complain("canceled", job.id, f"it was canceled before its submit, and it is {NAMES[final]}")

    def check_feed(self, job, final):
        ended, completed, highest, last = None, set(), None, None
        for told in self.feed[job.id]:
            if told.null:
                continue
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
            if not (job.deleted and final == NOT_FOUND and self.history.outages):
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
        """One claim starts one process; and a job is not claimed any more after a client was told its end. Where the store went
        back to before that, the worker that knows has one lease to say so: one that is gone, or cannot, is not waited for."""
        starts = collections.Counter((seen.attempt, seen.fence) for seen in self.witnesses[job.id] if seen.word == "start")
        for claim, count in starts.items():
            if count > 1:
                self.complain("double", job.id, f"attempt {claim} was started {count} times")
        ended = next((reply for reply in self.replies[job.id] if reply.status in (COMPLETED, FAILED)), None)
        if not ended:
            return
        knows = {seen.machine for seen in self.witnesses[job.id] if seen.word == "end" and seen.time <= ended.answered}
        for attempt, fence in starts:
            claimed = fence / 1e6  # a fence is the time of its claim, in microseconds
            excused = any(machine in knows and ended.asked - WIPE_SECONDS < wiped < claimed
                          for machine, wiped in self.history.wipes) or any(
                machine in knows and begin < claimed and end > ended.asked for machine, begin, end in self.history.away)
            if claimed > ended.answered and not excused:
                self.complain("double", job.id, f"a client was told {NAMES[ended.status]}, and {claimed - ended.answered:.3f} s "
                              f"later attempt {attempt} was claimed")


def check(history):
    return Checker(history).check()
