"""The checker itself, on histories that are made up: each thing that must not happen is found, and nothing else is."""
import dataclasses
import pathlib
import sys
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1] / "e2e")]
import checker
import feed
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
    return feed.Told("j", (0, version), (epoch, version), status, attempt, fence, **more)


def canceled():
    """The same job, which never ends by itself, canceled at second 1003."""
    made = history()
    made.jobs[0].ends_alone, made.jobs[0].cancel_asked, made.jobs[0].canceled = False, 1003.0, 1003.1
    made.replies[2:] = [checker.Reply("j", 1003.5, 1003.6, CANCELED)]
    made.feed[2:] = [told(3, CANCELING, 1, FENCE), told(4, CANCELED, 1, FENCE)]
    made.witnesses.pop()
    made.final, made.models = {"j": CANCELED}, {"j": None}
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
        for made in (history(), canceled(), deleted()):
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
        made.outages = [(1002.9, 1010.0)]
        self.expect(made)

    def test_events_may_be_told_again(self):
        made = history()
        made.feed.append(made.feed[-1])
        self.expect(made)

    def test_one_that_was_deleted_before_kafka_knew_it(self):
        made = deleted()
        made.feed.clear()
        self.expect(made, "feed")
        made.outages = [(1004.5, 1010.0)]
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
        made.away = [("w1", 1004.0, 1006.0)]  # who knew of the end could not say so in time
        self.expect(made)
        made.away, made.wipes = [], [("w1", 1001.0)]  # the disk that held its end is gone: it may be done once more
        self.expect(made)
        made.away, made.wipes = [("w2", 1004.0, 1006.0)], [("w2", 1001.0)]  # who did not know of it excuses nothing
        self.expect(made, "double")
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

    def test_a_feed_that_does_not_know_the_end(self):
        made = history()
        made.feed.pop()
        self.expect(made, "feed")
        made.feed.clear()
        self.expect(made, "feed")


if __name__ == "__main__":
    unittest.main()
