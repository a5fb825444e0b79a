"""What the clients that exist ask of a server, line by line (checklist/lines.json). The table comes at the end, and a line that
has no check, or one that failed, fails the suite."""
import importlib
import sys
import unittest

import stack
from checklist import lines
from checklist.access import OTHER, Access
from checklist.jobs import ARGUMENTS, STAYS, STUBBORN, Jobs
from checklist.logs import CHATTY, COUNTS, NOISE, Logs
from checklist.wire import Wire
from foreign import driver, trip


class Checklist(Wire, Access, Jobs, Logs, unittest.TestCase):
    UNKNOWN = (trip.UNKNOWN, "no id", "0123456789abcdef01234567", "é" * 40)
    QUIET, LARGE = "paused", "paused-large"  # organizations that are not served: their jobs wait
    STATUSES = [f"TRAINING_STATUS_{name}" for name in
                ("UNSPECIFIED", "PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELED", "CANCELING")]
    errors = []  # of all checks

    @classmethod
    def setUpClass(cls):
        yard = cls.yard = cls.enterClassContext(trip.Yard(trip.KINDS[0]))
        cls.gate = yard.dir / "gate"
        for name, text in {"stays": STAYS.format(gate=cls.gate), "fails": "exit 3", "stubborn": STUBBORN, "chatty": CHATTY,
                           "arguments": ARGUMENTS, "counts": COUNTS, "noise": NOISE}.items():
            yard.script(name, text)
        cls.messages = importlib.import_module("viam.app.mltraining.v1.ml_training_pb2")
        cls.open_server = yard.another_responder("open")
        cls.tls_server = yard.tls_responder()
        cls.start_pings()
        yard.start_keyed_responder()
        yard.start_worker("worker-1", "--slots", "4", "--grace-ms", "30000")
        yard.wait_whole()
        cls.key = yard.key()
        cls.api, cls.other, cls.open = driver.Grpcio(), driver.Grpcio(), driver.Grpcio()
        cls.api.open(**cls.key)
        cls.other.open(**yard.key(OTHER))
        cls.open.open(cls.open_server)
        for client in (cls.api, cls.other, cls.open):
            cls.addClassCleanup(client.close)
        cls.token = cls.api.metadata[0][1].removeprefix("Bearer ")
        yard.cli("pause", cls.QUIET, cls.LARGE)
        for name in (cls.QUIET, cls.LARGE):
            stack.wait_until(lambda: yard.redis.ask("HEXISTS", "{ty:0}:g", f"pause/{name}") == ":1", "the pause is in force")
        # Jobs that many checks look at, and none changes.
        cls.counting, cls.finished, cls.failed, cls.sleeping = (
            cls.submit(script, f"shared-{script}") for script in ("counts", "train", "fails", "sleeper"))
        cls.waiting = cls.open.submit(**{**cls.job("train", "waits"), "organization": cls.QUIET})
        cls.ends(cls.finished, "COMPLETED")
        cls.ends(cls.failed, "FAILED")
        cls.reaches(cls.sleeping, "IN_PROGRESS")

    @staticmethod
    def job(script, model, **more):
        return {"organization": stack.ORGANIZATION, "dataset": "empty-set", "script": f"test:{script}", "script_version": "1",
                "model": model, "model_version": "1", **more}

    @classmethod
    def submit_request(cls, script, model):
        return driver.submit_body(cls.job(script, model))

    @staticmethod
    def managed_job():
        return {"organization": stack.ORGANIZATION, "dataset": "empty-set", "model": "managed", "model_version": "1",
                "model_type": "SINGLE_LABEL_CLASSIFICATION", "tags": ["cat", "dog"]}

    @classmethod
    def submit(cls, script, model):
        return cls.api.submit(**cls.job(script, model))

    @classmethod
    def reaches(cls, id, *names):
        last = [None]

        def check():
            last[0] = cls.api.get(id)
            return last[0] if last[0].get("status") in {f"TRAINING_STATUS_{name}" for name in names} else None
        return stack.wait_until(check, lambda: f"{id} is {names}, but: {last[0]}")

    ends = reaches

    def note(self, error):
        self.errors.append(error)

    def refused(self, code, call, *words, **more):
        with self.assertRaises(driver.Refused, msg=f"{words} {more}") as caught:
            call(*words, **more)
        self.note(caught.exception)
        self.assertEqual(caught.exception.code, code, f"{caught.exception} {words} {more}")


if __name__ == "__main__":
    runner = unittest.TextTestRunner(verbosity=2, resultclass=lines.Result)
    result = unittest.main(testRunner=runner, exit=False).result
    if len(sys.argv) == 1:  # not a choice of checks
        stack.report("checklist", lines.table(result))
    sys.exit(not result.wasSuccessful() or (len(sys.argv) == 1 and not lines.is_whole(result)))
