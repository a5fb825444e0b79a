#!/usr/bin/python3
"""deploy/quickstart as a user runs it: it succeeds, and whatever happens to it, it leaves nothing behind."""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "deploy/quickstart"
FLAGS = []
FIRST_SECONDS, SECONDS = 1200, 300  # the first run builds


def wait_until(check, what, seconds):
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what()}")
        time.sleep(0.02)


class Quickstart(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="ty-quickstart-test-")
        self.addCleanup(place.cleanup)
        self.dir = pathlib.Path(place.name).resolve()  # TMPDIR of the script: all that it makes is in here
        self.output = self.dir.with_suffix(".out")
        self.addCleanup(self.output.unlink, missing_ok=True)

    def start(self, *words):
        with open(self.output, "wb") as output:
            child = subprocess.Popen([QUICKSTART, *FLAGS, *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                     env={**os.environ, "TMPDIR": str(self.dir)}, start_new_session=True,
                                     preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def text(self):
        return self.output.read_text(errors="replace")

    def processes(self):
        """Those that have a path of this run among their words, or stand in it."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if str(self.dir) in words or str(self.dir) in os.readlink(entry / "cwd"):
                        found[int(entry.name)] = words
        return found

    def assert_nothing_left(self):
        wait_until(lambda: not self.processes(), lambda: f"nothing runs any more, but: {self.processes()}", 60)
        wait_until(lambda: not list(self.dir.iterdir()), lambda: f"nothing is left, but: {list(self.dir.iterdir())}", 60)

    def wait_said(self, child, text, seconds):
        wait_until(lambda: text in self.text() or child.poll() is not None, self.text, seconds)
        self.assertIsNone(child.poll(), self.text())

    def test_1_all_of_it_works_and_nothing_is_left(self):
        child = self.start()
        self.assertEqual(child.wait(FIRST_SECONDS), 0, self.text())
        said = self.text()
        self.assertRegex(said, r"Status +COMPLETED")
        self.assertIn("epoch 40/40", said)
        self.assertIn("onnx.checker accepts it", said)
        self.assertGreaterEqual(float(re.search(r"accuracy (0\.\d+):", said.split("the model:")[1]).group(1)), 0.95)
        self.assert_nothing_left()

    def test_2_keep_leaves_it_up_until_it_is_stopped(self):
        child = self.start("--keep")
        self.assertEqual(child.wait(SECONDS), 0, self.text())
        said = self.text()
        path, server, brokers = re.search(r"export PATH=(.*):\$PATH TRAINYARD_SERVER=(\S+) TRAINYARD_KAFKA_BROKERS=(\S+)",
                                          said).groups()
        listed = subprocess.run([f"{path}/trainyard", "list", "--org", "demo", "--server", server], stdout=subprocess.PIPE,
                                text=True, timeout=30, check=True)
        self.assertIn("COMPLETED", listed.stdout)
        managed = subprocess.run(
            [f"{path}/trainyard", "submit", "--org", "demo", "--dataset", "digits", "--model-name", "managed", "--tag", "3",
             "--tag", "5", "--model-type", "single-label-classification", "--framework", "onnx", "--follow", "--server",
             server, "--kafka-brokers", brokers], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=200)
        self.assertEqual(managed.returncode, 0, managed.stderr)
        self.assertIn("VIAM_UNKNOWN", managed.stderr)  # the trainer has told of the digits that are neither 3 nor 5
        subprocess.run([re.search(r"To stop it and remove it all: +(\S+)", said).group(1)], check=True, timeout=100)
        self.assert_nothing_left()

    def test_3_interrupted_at_any_time(self):
        for text in ("starting Redis", "its log:"):
            with self.subTest(text):
                child = self.start()
                self.wait_said(child, text, SECONDS)
                child.send_signal(signal.SIGINT)
                self.assertEqual(child.wait(100), 130, self.text())
                self.assert_nothing_left()

    def test_4_killed_half_way(self):
        for text in ("starting Redis", "its log:"):
            with self.subTest(text):
                child = self.start()
                self.wait_said(child, text, SECONDS)
                child.kill()
                child.wait()
                self.assert_nothing_left()

    def test_5_wrong_usage(self):
        child = self.start("--nonsense")
        self.assertEqual(child.wait(30), 2)
        self.assertIn("--help", self.text())
        self.assert_nothing_left()
        helped = subprocess.run([QUICKSTART, "--help"], stdout=subprocess.PIPE, text=True, timeout=30, check=True)
        self.assertIn("--keep", helped.stdout)


if __name__ == "__main__":
    if "--kafka" in sys.argv:
        sys.argv.remove("--kafka")
        FLAGS.append("--kafka")
        reason = os.environ.get("TRAINYARD_WITHOUT_KAFKA")
        if reason:
            print(f"skipped: no Kafka: {reason}")
            sys.exit(1 if os.environ.get("TRAINYARD_NO_SKIP") == "1" else 77)
    unittest.main()
