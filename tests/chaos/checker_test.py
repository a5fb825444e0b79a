"""The checker itself, on histories that are made up: each thing that must not happen is found, and nothing else is."""
import dataclasses
import pathlib
import sys
import tempfile
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1] / "e2e")]
import checker
import clients
import evidence
import feed
import stack
import yard
from checker import CANCELED, CANCELING, COMPLETED, FAILED, IN_PROGRESS, NOT_FOUND, PENDING

FENCE = 1_000_000_000  # of the first attempt: second 1000 of the wall clock
LATER = 1_005_000_000  # of the second one: second 1005


def history():
    """One job that was submitted, ran once, from second 1000 to 1002, and is COMPLETED."""
    return checker.History(
        jobs=[checker.Job("j", submitted=999.0)],
        replies=[checker.Reply("j", 999.1, 999.2, PENDING), checker.Reply("j", 1000.5, 1000.6, IN_PROGRESS),
                 checker.Reply("j", 1002.5, 1002.6, COMPLETED)],
        feed=[told(1, PENDING), told(2, IN_PROGRESS, 1, FENCE), told(3, COMPLETED, 1, FENCE)],
        witnesses=[checker.Witness("j", "start", 1, FENCE, 1000.1, "w1"), checker.Witness("j", "end", 1, FENCE, 1002.0, "w1")],
        final={"j": COMPLETED}, models={"j": (1, FENCE)}, outages=[])


def told(version, status, attempt=0, fence=0, epoch=1, **more):
    more = {"seen": 998.0 + 1.5 * version, "digest": b"%d" % version} | more
    return feed.Told("j", (0, version), (epoch, version), status, attempt, fence, **more)


def fragile(losses=1, **more):
    """One that may be lost once, and was: its worker, w1, was killed."""
    made = history()
    made.jobs[0].may_fail, made.jobs[0].max_attempts = True, 1
    made.feed[2:] = [told(3, FAILED, 1, FENCE, **({"losses": losses, "reason": 11} | more))]
    made.replies[2].status = made.final["j"] = FAILED
    made.models = {}
    made.witnesses.pop()
    made.away = [checker.Away("w1", 1001.0, 1008.0, "worker_killed")]
    return made


def canceled():
    """The same job, which never ends by itself, canceled at second 1003."""
    made = history()
    made.jobs[0].ends_alone, made.jobs[0].cancel_asked, made.jobs[0].canceled = False, 1003.0, 1003.1
    made.replies[2:] = [checker.Reply("j", 1003.5, 1003.6, CANCELED)]
    made.feed[2:] = [told(3, CANCELING, 1, FENCE), told(4, CANCELED, 1, FENCE)]
    made.witnesses.pop()
    made.final, made.models = {"j": CANCELED}, {"j": None}
    return made


def again():
    """The store went back at second 1003 to before the end, which Kafka did not know, and its worker was away: done once more."""
    made = history()
    made.outages = [checker.Outage(1003.0, 1004.5, 1001.0)]
    made.away = [checker.Away("w1", 1002.7, 1006.0)]
    made.feed[2:] = [told(3, IN_PROGRESS, 2, LATER), told(4, COMPLETED, 2, LATER, seen=1007.0)]
    made.witnesses += [checker.Witness("j", "start", 2, LATER, 1005.1, "w2"), checker.Witness("j", "end", 2, LATER, 1006.5, "w2")]
    made.models["j"] = (2, LATER)
    return made


def deleted():
    made = history()
    made.jobs[0].delete_asked, made.jobs[0].deleted = 1004.0, 1004.1
    made.replies.append(checker.Reply("j", 1005.0, 1005.1, NOT_FOUND))
    made.feed.append(told(4, COMPLETED, 1, FENCE, deleted=True))
    made.final = {"j": NOT_FOUND}
    return made


class CheckerTest(unittest.TestCase):
    def expect(self, made, *kinds):
        found = checker.check(made)
        self.assertEqual(sorted({violation.kind for violation in found}), sorted(kinds),
                         "\n".join(violation.text for violation in found))

    # ---- nothing is wrong

    def test_clean_histories_pass(self):
        for made in (history(), canceled(), deleted(), fragile()):
            self.expect(made)

    def test_a_second_attempt_is_nothing_wrong(self):
        made = history()
        made.feed[2:] = [told(3, PENDING, 1, FENCE), told(4, IN_PROGRESS, 2, LATER), told(5, COMPLETED, 2, LATER)]
        made.replies[2] = checker.Reply("j", 1007.5, 1007.6, COMPLETED)
        made.witnesses += [checker.Witness("j", "start", 2, LATER, 1005.1), checker.Witness("j", "end", 2, LATER, 1007.0)]
        made.models["j"] = (2, LATER)
        self.expect(made)

    def test_what_was_not_acknowledged_need_not_be(self):
        made = history()
        made.jobs[0].submitted = None
        made.final, made.feed, made.replies, made.witnesses = {"j": NOT_FOUND}, [], [], []
        self.expect(made)

    def test_a_store_that_comes_back_may_show_what_was(self):
        made = history()
        made.replies.insert(3, checker.Reply("j", 1003.0, 1003.1, IN_PROGRESS))
        self.expect(made, "changed")
        made.outages = [checker.Outage(1002.9, 1010.0, 1001.0)]
        self.expect(made)
        made.outages = [checker.Outage(1002.9, 1010.0, 1002.8)]  # it had the end
        self.expect(made, "changed")
        made.outages = [checker.Outage(1002.9, 1010.0)]
        self.expect(made, "changed")
        made.outages = [checker.Outage(1002.7, 1002.8, 1001.0)]  # and has it again
        self.expect(made, "changed")
        made.outages = [checker.Outage(1001.0, 1010.0, 990.0)]  # it went back before that, and not again
        self.expect(made, "changed")

    def test_a_store_that_goes_back_again_before_it_has_come_back(self):
        made = history()
        made.replies.insert(3, checker.Reply("j", 1007.0, 1007.1, IN_PROGRESS))
        made.outages = [checker.Outage(1006.0, 1010.0, 1004.0), checker.Outage(1002.9, 1005.0, 1001.0)]
        self.expect(made)
        made.outages[0].lost_from = 1005.5
        self.expect(made, "changed")

    def test_another_end_is_shown_at_no_time(self):
        for status in (FAILED, CANCELED, NOT_FOUND):
            made = history()
            made.outages = [checker.Outage(1002.9, 1010.0, 1001.0)]
            made.replies.insert(3, checker.Reply("j", 1003.0, 1003.1, status))
            self.expect(made, "changed")

    def test_what_has_to_be_done_again_is_shown_as_long_as_it_takes(self):
        made = again()
        made.replies += [checker.Reply("j", 1006.0, 1006.1, IN_PROGRESS), checker.Reply("j", 1007.5, 1007.6, COMPLETED)]
        self.expect(made)
        made.away = []
        self.expect(made, "changed", "double")

    def test_events_may_be_told_again(self):
        made = history()
        made.feed.append(made.feed[-1])
        self.expect(made)

    def test_one_that_was_deleted_before_kafka_knew_it(self):
        made = deleted()
        made.feed.clear()
        self.expect(made, "feed")
        made.outages = [checker.Outage(900.0, 910.0, 890.0)]  # before there was such a job
        self.expect(made, "feed")
        made.outages = [checker.Outage(1006.5, 1010.0, 1005.5)]  # to when it was deleted already: then its deletion was told
        self.expect(made, "feed")
        made.outages = [checker.Outage(1004.5, 1010.0, 998.0)]
        self.expect(made)

    # ---- lost

    def test_a_lost_job(self):
        made = history()
        made.final = {"j": NOT_FOUND}
        made.feed, made.replies, made.witnesses, made.models = None, made.replies[:1], [], {}
        self.expect(made, "lost")

    def test_a_failure_of_what_cannot_fail(self):
        made = history()
        made.replies[2].status = made.feed[2].status = made.final["j"] = FAILED
        made.models = {}
        self.expect(made, "lost")
        made.jobs[0].may_fail = True
        self.expect(made)

    def test_a_model_without_its_name(self):
        made = history()
        made.models = {"j": None}
        self.expect(made, "lost")

    # ---- stuck

    def test_no_end_and_no_answer(self):
        for status, feed_says in ((IN_PROGRESS, IN_PROGRESS), (None, IN_PROGRESS)):
            made = history()
            made.replies.pop()
            made.feed[2:] = []
            made.witnesses.pop()
            made.final, made.models = {"j": status}, {}
            made.feed[-1].status = feed_says
            self.assertIn("stuck", [violation.kind for violation in checker.check(made)])

    # ---- twice

    def test_two_ends(self):
        made = history()
        made.feed.append(told(4, FAILED, 1, FENCE))
        made.final = {"j": FAILED}
        self.assertIn("changed", [violation.kind for violation in checker.check(made)])
        made = history()
        made.replies.append(checker.Reply("j", 1006.0, 1006.1, CANCELED))
        self.expect(made, "changed")

    def test_an_end_that_is_another_at_last(self):
        made = history()
        made.final = {"j": CANCELED}
        self.assertIn("changed", [violation.kind for violation in checker.check(made)])

    def test_two_attempts_complete(self):
        made = history()
        made.feed.append(told(5, COMPLETED, 2, LATER))
        made.witnesses += [checker.Witness("j", "end", 2, LATER, 1007.0)]
        made.models["j"] = (2, LATER)
        self.expect(made, "double")

    def test_a_stale_attempt_had_the_effect(self):
        made = history()
        made.feed[1:] = [told(2, IN_PROGRESS, 2, LATER), told(3, COMPLETED, 2, LATER)]
        self.expect(made, "double")  # completed by the second, and only the first ever came to its end
        made.replies[2] = checker.Reply("j", 1007.5, 1007.6, COMPLETED)
        made.witnesses += [checker.Witness("j", "end", 2, LATER, 1007.0)]
        self.expect(made, "double")  # and the model is the first one's
        made.models["j"] = (2, LATER)
        self.expect(made)

    def test_a_completion_without_any_end(self):
        made = history()
        made.witnesses.pop()
        self.expect(made, "double")

    def test_a_model_of_a_job_that_was_canceled(self):
        made = canceled()
        made.models = {"j": (1, FENCE)}
        self.expect(made, "double")

    def test_one_claim_that_runs_twice(self):
        made = history()
        made.witnesses.insert(1, checker.Witness("j", "start", 1, FENCE, 1000.2))
        self.expect(made, "double")

    def test_a_claim_after_a_client_was_told_the_end(self):
        made = history()
        made.witnesses.append(checker.Witness("j", "start", 2, LATER, 1005.1))
        self.expect(made, "double")
        made.away = [checker.Away("w1", 1004.0, 1006.0)]  # the store has the end, whoever is away
        self.expect(made, "double")
        made.away, made.wipes = [], [("w1", 1004.0)]
        self.expect(made, "double")
        made = again()
        self.expect(made)
        made.outages[0].kind = "killed"
        self.expect(made)
        made.outages[0].lost_from = 1002.9  # the end was there again
        self.expect(made, "double")
        made = again()
        made.outages[0].begin = 1005.5  # after the claim
        self.expect(made, "double")
        made.outages[0].begin = 1001.0  # before the end
        self.expect(made, "double")
        made = again()
        made.outages = []
        self.expect(made, "double")
        made = again()
        made.away = []  # who knows it is there
        self.expect(made, "double")
        made.away = [checker.Away("w1", 990.0, 999.0)]
        self.expect(made, "double")
        made.away = [checker.Away("w2", 1002.7, 1006.0)]  # who did not know of it excuses nothing
        self.expect(made, "double")
        made.away, made.wipes = [], [("w1", 1002.8)]  # the disk that held its end is gone: it may be done once more
        self.expect(made)
        made.wipes = [("w1", 1001.0)]  # it held nothing yet
        self.expect(made, "double")
        made.wipes = [("w2", 1002.8)]
        self.expect(made, "double")

    def test_the_last_attempt_was_lost_with_the_end_that_its_worker_told(self):
        def lost():
            made = fragile()
            made.replies[2].status = COMPLETED
            made.replies.append(checker.Reply("j", 1010.0, 1010.1, FAILED))
            made.witnesses.append(checker.Witness("j", "end", 1, FENCE, 1002.0, "w1"))
            made.feed[2].seen = 1009.0
            made.outages = [checker.Outage(1003.0, 1005.0, 1001.5)]
            made.away = [checker.Away("w1", 1003.5, 1008.0, "worker_killed")]
            return made
        self.expect(lost())
        made = lost()
        made.away = []
        self.expect(made, "changed")
        made = lost()
        made.outages = []
        self.expect(made, "changed")
        made = lost()
        made.jobs[0].max_attempts = 0  # it has more
        self.expect(made, "changed")
        made = lost()
        made.replies.append(checker.Reply("j", 1011.0, 1011.1, COMPLETED))
        self.expect(made, "changed")

    def test_a_cancel_ends_what_its_worker_knew_and_nobody_else(self):
        def lost():
            made = history()
            made.jobs[0].cancel_asked, made.jobs[0].canceled = 1003.2, 1003.3
            made.replies.append(checker.Reply("j", 1010.0, 1010.1, CANCELED))
            made.feed[2:] = [told(3, CANCELING, 1, FENCE), told(4, CANCELED, 1, FENCE, seen=1009.0)]
            made.final, made.models = {"j": CANCELED}, {"j": None}
            made.outages = [checker.Outage(1003.0, 1005.0, 1001.5)]
            made.away = [checker.Away("w1", 1003.1, 1008.0, "publisher_overtaken")]
            return made
        self.expect(lost())
        made = lost()
        made.away = []
        self.expect(made, "changed")
        made = lost()
        made.jobs[0].cancel_asked = made.jobs[0].canceled = None
        self.expect(made, "changed")

    def test_a_cancel_that_the_store_lost_takes_its_time(self):
        made = canceled()
        made.replies.append(checker.Reply("j", 1050.0, 1050.1, CANCELING))
        made.replies.append(checker.Reply("j", 1060.0, 1060.1, CANCELED))
        self.expect(made, "changed")
        made.outages = [checker.Outage(1004.0, 1006.0, 1002.0)]
        self.expect(made)
        made.outages[0].lost_from = 1003.9  # it did not lose the end
        self.expect(made, "changed")
        made.outages[0].lost_from, made.replies[3].status = 1002.0, PENDING
        self.expect(made, "changed")

    def test_an_end_that_kafka_knows_is_not_forgotten(self):
        made = again()
        made.feed.insert(2, told(3, COMPLETED, 1, FENCE, seen=1002.9))
        made.feed[3:] = []
        made.witnesses.pop()
        made.models["j"] = (1, FENCE)
        self.expect(made, "double")
        made.feed[2].seen = 1003.2  # not when the store went
        self.expect(made)

    def test_a_claim_after_a_client_was_told_that_it_was_canceled(self):
        made = canceled()
        made.witnesses.append(checker.Witness("j", "start", 2, LATER, 1005.1))
        self.expect(made, "double")
        # Its cancel is in Kafka, whatever the store and the worker have lost.
        made.witnesses.append(checker.Witness("j", "end", 1, FENCE, 1002.9, "w1"))
        made.outages = [checker.Outage(1004.0, 1004.5, 1001.0)]
        made.away = [checker.Away("w1", 1002.7, 1006.0)]
        self.expect(made, "double")

    def test_a_claim_that_began_late(self):
        # One that was claimed before and began late has no effect, and is nothing wrong.
        made = history()
        made.witnesses.append(checker.Witness("j", "start", 1, FENCE - 1, 1005.1))
        self.expect(made)

    # ---- cancel and delete

    def test_a_lost_cancel(self):
        made = canceled()
        made.final = {"j": COMPLETED}
        made.replies[2].status = COMPLETED
        made.feed[2:] = [told(3, COMPLETED, 1, FENCE)]
        made.witnesses, made.models = history().witnesses, history().models
        self.expect(made, "canceled")

    def test_a_lost_cancel_of_what_runs_for_ever(self):
        made = canceled()
        made.final = {"j": IN_PROGRESS}
        made.replies.pop()
        made.feed[2:] = []
        self.expect(made, "canceled", "stuck")

    def test_a_cancel_before_the_submit(self):
        made = history()
        made.jobs[0].cancel_first, made.jobs[0].canceled = True, 998.0
        self.expect(made, "canceled")

    def test_a_cancel_that_is_not_heeded(self):
        for by_rpc in (True, False):
            made = history()
            made.jobs[0].submitted, made.jobs[0].canceled_by_rpc = 980.0, by_rpc
            made.jobs[0].cancel_asked, made.jobs[0].canceled = 999.9, 999.95
            self.expect(made)  # they met
            made.jobs[0].cancel_asked, made.jobs[0].canceled = 990.0, 990.1
            self.expect(made, "canceled")
            made.away = [checker.Away("w2", 991.0, 992.0)]
            self.expect(made, *(["canceled"] if by_rpc else []))  # which may have had to read it
            made.away = [checker.Away("responder", 990.0, 995.0)]
            self.expect(made)
            made.jobs[0].submitted, made.jobs[0].cancel_asked, made.jobs[0].canceled = 940.0, 950.0, 950.1
            made.away = [checker.Away("responder", 950.0, 995.0), checker.Away("w2", 991.0, 992.0)]
            self.expect(made, "canceled")
            made.outages = [checker.Outage(999.0, 999.5)]
            self.expect(made)

    def test_a_job_that_comes_back_from_its_deletion(self):
        made = deleted()
        made.final = {"j": COMPLETED}
        self.expect(made, "deleted")

    # ---- the feed

    def test_an_event_behind_a_later_one(self):
        made = history()
        made.feed.append(dataclasses.replace(made.feed[0], place=(0, 4)))
        made.feed.append(dataclasses.replace(made.feed[2], place=(0, 5)))
        self.assertIn("feed", [violation.kind for violation in checker.check(made)])

    def test_two_events_of_one_version(self):
        made = history()
        made.feed.append(dataclasses.replace(made.feed[2], place=(0, 4)))
        self.expect(made)
        made.feed[3].digest = b"another"
        self.expect(made, "feed")
        made.feed.insert(3, feed.Told("j", (0, 3), null=True))  # and then it is another job
        self.expect(made)

    # ---- jobs with few attempts

    def test_attempts_that_were_not_used(self):
        self.expect(fragile(losses=0), "lost")
        self.expect(fragile(reason=checker.REASON_HANDED_BACK), "lost")
        self.expect(fragile(handed_back=(1,)), "lost")
        made = fragile()
        made.jobs[0].max_attempts = 2
        self.expect(made, "lost")

    def test_an_attempt_that_was_given_back_before(self):
        made = fragile()
        made.feed[1] = told(2, IN_PROGRESS, 2, FENCE)
        made.feed[2] = told(3, FAILED, 2, FENCE, losses=1, handed_back=(1,))
        made.witnesses = [checker.Witness("j", "start", 2, FENCE, 1000.1, "w1")]
        self.expect(made)
        made.feed[2].errors = 1
        self.expect(made, "lost")

    def test_a_worker_that_was_only_stopped(self):
        made = fragile()
        made.away = [checker.Away("w1", 1001.0, 1008.0, "worker_stopped"), checker.Away("w2", 1001.0, 1008.0, "worker_killed")]
        self.expect(made, "lost")
        made.feed[2].fence += 1  # as of one that was taken from its worker
        self.expect(made, "lost")
        made.outages = [checker.Outage(1001.0, 1003.0)]
        self.expect(made)
        made.outages = []
        made.away.append(checker.Away("w1", 999.0, 1000.5, "worker_frozen"))
        self.expect(made)

    # ---- the feed again

    def test_a_feed_that_does_not_know_the_end(self):
        made = history()
        made.feed.pop()
        self.expect(made, "feed")
        made.feed.clear()
        self.expect(made, "feed")


class RunTest(unittest.TestCase):
    """What a run says beside the violations."""

    def process(self, script):
        made = stack.Process("worker-0", pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())), ["sh", "-c", script])
        self.addCleanup(made.kill)
        return made

    def test_a_worker_that_dies_by_itself(self):
        for script, says in (("echo it was here; kill -SEGV $$", "SIGSEGV"), ("echo it was here; exit 3", "with 3"),
                             ("echo it was here", "by itself")):
            process = self.process(script)
            process.child.wait(30)
            self.assertIn(says, yard.died(process))
            self.assertIn("it was here", yard.died(process))
        self.assertIsNone(yard.died(self.process("exec sleep 60")))

    def test_a_drain_that_does_not_end_well(self):
        process = self.process("echo it was here; trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
        stack.wait_until(lambda: "ready" in process.text(), "the program is there", 30)
        trouble = yard.how_it_ended(process, process.stop(30))
        self.assertIn("with 5", trouble)
        self.assertIn("it was here", trouble)
        self.assertIsNone(yard.how_it_ended(process, 0))

    def test_too_few_jobs(self):
        self.assertIn("59 of 60", clients.shortfall(59, 60))
        self.assertIsNone(clients.shortfall(60, 60))
        self.assertIsNone(clients.shortfall(70, 60))

    def test_duplicates_that_were_planned_prove_nothing(self):
        log = ("event=worker.ready\nevent=intake.figures received=5 duplicates=2 conflicts=0\nevent=intake.figures duplicates=4\n"
               "event=worker.ready\nevent=intake.figures duplicates=3\n")
        counters = {"stale_refused": 0, "publisher_fenced": 0}
        for planned, expected in ((7, 0), (8, 0), (5, 2), (0, 7)):
            self.assertEqual(evidence.read([log], counters, planned)["duplicate_applied"], expected)


if __name__ == "__main__":
    unittest.main()
