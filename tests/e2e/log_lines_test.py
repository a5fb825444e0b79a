"""What a job prints and what its log says: every case of schemas/log_lines.json as a real job, from its pipe to
GetTrainingJobLogs, which has the messages, and to Follow, which has what stands beside them too. No byte may fail a job."""
import json
import random
import time
import unittest

import stack

KINDS = stack.broker_kinds()
STREAMS = (None, "worker", "stdout", "stderr")  # of trainyard.v1.LogStream
CASES = stack.SOURCE / "schemas" / "log_lines.json"

PRINT = f"""
echo model > "$OUTPUT/model.txt"
exec python3 - "$ARG_case" <<'END'
import json, os, sys, time
case = next(case for case in json.load(open({str(CASES)!r}))["cases"] if case["name"] == sys.argv[1])
for part in case["prints"]:
    time.sleep(part.get("after_ms", 0) / 1000)
    view = memoryview(part["bytes"].encode("latin-1") * part.get("times", 1))
    while view:
        view = view[os.write(1 if part["stream"] == "stdout" else 2, view):]
END
"""

# Says what time it is, ten times, 350 ms apart: at all phases of whoever looks.
CLOCK = """
echo model > "$OUTPUT/model.txt"
exec python3 -uc '
import time
for _ in range(10):
    print("printed at", time.time())
    time.sleep(0.35)
'
"""

# Two million bytes of chance, without those that take others along by the rules.
CHANCE = """
echo model > "$OUTPUT/model.txt"
exec python3 -c '
import os, random
view = memoryview(random.Random(7).randbytes(2000000).translate(None, b"\\r\\x1b"))
while view:
    view = view[os.write(1, view[:30011]):]
'
"""


def expected(case):
    """[(level, message, stream, continued)] in the order of the entries."""
    return [(entry["level"], entry["text"] * entry.get("times", 1), entry["stream"], entry.get("continued", False))
            for entry in case["entries"] for _ in range(entry.get("repeated", 1))]


class LogLines(unittest.TestCase):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.yard.script("print", PRINT)
        cls.yard.script("clock", CLOCK)
        cls.yard.script("chance", CHANCE)
        cls.yard.script("both", 'echo m > "$OUTPUT/m"; echo to stdout; sleep 0.2; echo to stderr >&2; sleep 0.2; echo INFO: and more >&2')
        cls.yard.start_responder()
        cls.yard.start_worker("worker-1", "--slots", "2")

    def printed(self, job_id):
        """What the step train printed: between the worker's own words."""
        entries = [(entry.level, entry.message) for entry in self.yard.logs(job_id)]
        return entries[entries.index(("info", "step train")) + 1:entries.index(("info", "step collect"))]

    def followed(self, job_id):
        """All of the ended job's log by Follow: [(level, message, stream, continued)]; fails on numbers that do not go on."""
        messages, entries = self.yard.messages, []
        stub = messages.log_service_grpc.LogServiceStub(self.yard.channel)
        for reply in stub.Follow(messages.log_service.FollowRequest(id=job_id), timeout=60):
            for record in reply.records:
                self.assertEqual((record.attempt, record.sequence), (1, len(entries)))
                entries.append((record.entry.level, record.entry.message, STREAMS[record.stream], record.continued))
        return entries

    def test_cases(self):
        yard, cases = self.yard, json.loads(CASES.read_text())["cases"]
        jobs = {case["name"]: yard.publish_custom(yard.custom_request("print", f"lines-{number}", {"case": case["name"]}))
                for number, case in enumerate(cases)}
        for case in cases:
            with self.subTest(case["name"]):
                job = yard.wait_end(jobs[case["name"]], 120)
                self.assertEqual(job.status, stack.COMPLETED, job)
                wanted, entries = expected(case), self.followed(job.id)
                self.assertEqual(self.printed(job.id), [entry[:2] for entry in wanted])
                self.assertEqual([entry for entry in entries if entry[2] != "worker"], wanted)
                own = [entry[1] for entry in entries if entry[2] == "worker"]
                self.assertEqual([word for word in own if word.startswith(("attempt", "step"))], [
                    "attempt 1 claimed by worker-1", "step prepare", "step install", "step train", "step collect",
                    "attempt 1 completed"])

    def test_nothing_printable_is_lost(self):
        yard = self.yard
        job = yard.wait_end(yard.publish_custom(yard.custom_request("chance", "chance")))
        self.assertEqual(job.status, stack.COMPLETED, job)
        printable = bytes(range(0x20, 0x7f))
        wanted = bytes(byte for byte in random.Random(7).randbytes(2000000) if byte in printable)
        found = "".join(message for _, message in self.printed(job.id)).encode()
        self.assertTrue(bytes(byte for byte in found if byte in printable) == wanted)

    def test_stderr_has_the_level_that_is_set(self):
        yard = self.yard
        yard.workers["worker-1"].stop()
        yard.start_worker("worker-2", "--slots", "1", "--log-stderr-level", "warn")
        try:
            job = yard.wait_end(yard.publish_custom(yard.custom_request("both", "both")))
            self.assertEqual(self.printed(job.id), [("info", "to stdout"), ("warn", "to stderr"), ("info", "INFO: and more")])
        finally:
            yard.workers["worker-2"].stop()
            yard.workers["worker-1"].start()

    def test_a_line_is_there_soon(self):
        yard, seen, looks, late = self.yard, {}, [0], []
        job_id = yard.publish_custom(yard.custom_request("clock", "clock"))

        def look():
            began = time.time()
            for entry in yard.logs(job_id):
                if entry.message.startswith("printed at ") and entry.message not in seen:
                    printed = float(entry.message.split()[-1])
                    seen[entry.message] = time.time() - printed
                    late.append(looks[-1] - printed)  # the look before this one has not found it
            looks.append(began)
            return len(seen) == 10
        yard.wait_status(job_id, stack.IN_PROGRESS)
        stack.wait_until(look, lambda: f"ten lines, but: {seen}")
        waits = sorted(seen.values())
        print(f"from print to GetTrainingJobLogs: first {list(seen.values())[0]:.3f} s, median {waits[5]:.3f} s, "
              f"longest {waits[-1]:.3f} s", flush=True)
        self.assertLessEqual(max(late), 1.5, waits)


if __name__ == "__main__":
    unittest.main(verbosity=2)
