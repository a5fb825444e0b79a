#!/usr/bin/python3
"""deploy/kafka/kafka: what it keeps over a restart, what it leaves behind, and what it says when something is wrong."""
import os
import pathlib
import select
import socket
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KAFKA = ROOT / "deploy/kafka/kafka"


def run(*words, env=None):
    return subprocess.run([KAFKA, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=230, env={**os.environ, **(env or {})})


def skip(reason):
    print(f"skipped: no Kafka: {reason}")
    sys.exit(1 if os.environ.get("TRAINYARD_NO_SKIP") == "1" else 77)


class Kafka(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="ty-kafka-test-")
        self.addCleanup(place.cleanup)
        self.dir = pathlib.Path(place.name)
        self.addCleanup(run, "stop", "--dir", self.dir, "--now")

    def start(self, *words):
        done = run("start", "--dir", self.dir, "--die-with", os.getpid(), *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def pid(self):
        return int((self.dir / "pid").read_text())

    def cluster(self):
        lines = (self.dir / "data/meta.properties").read_text().splitlines()
        return next(line for line in lines if line.startswith("cluster.id="))

    def test_a_restart_keeps_cluster_and_port(self):
        address = self.start()
        host, port = address.split(":")
        socket.create_connection((host, int(port)), 5).close()
        cluster = self.cluster()
        self.assertEqual(run("stop", "--dir", self.dir).returncode, 0)
        self.assertFalse((self.dir / "pid").exists())
        self.assertEqual(self.start(), address)
        self.assertEqual(self.cluster(), cluster)

    def test_a_second_start_is_refused_and_a_stale_pid_file_is_not_believed(self):
        address = self.start()
        done = run("start", "--dir", self.dir)
        self.assertEqual(done.returncode, 1)
        self.assertIn("runs already", done.stderr)
        gone = os.pidfd_open(self.pid())
        os.kill(self.pid(), 9)
        self.assertTrue(select.select([gone], [], [], 20)[0])
        (self.dir / "pid").write_text(f"{os.getpid()}\n")  # somebody else has that number now
        self.assertEqual(self.start(), address)

    def test_it_dies_with_the_process_it_is_told(self):
        parent = subprocess.Popen(["sleep", "600"])
        self.addCleanup(parent.kill)
        done = run("start", "--dir", self.dir, "--die-with", parent.pid)
        self.assertEqual(done.returncode, 0, done.stderr)
        broker = os.pidfd_open(self.pid())
        parent.kill()
        parent.wait()
        self.assertTrue(select.select([broker], [], [], 20)[0], "the broker is still there")

    def test_what_is_wrong_is_said(self):
        done = run("start", "--dir", self.dir, "--property", "num.io.threads=none")
        self.assertEqual(done.returncode, 1)
        self.assertIn("num.io.threads", done.stderr)
        self.assertFalse((self.dir / "pid").exists())
        self.assertEqual(run("start", "--dir", self.dir, "--property", "nonsense").returncode, 2)
        self.assertEqual(run("start", "--dir", self.dir, "--die-with", 2**22 + 1).returncode, 1)
        self.assertEqual(run("stop", "--dir", self.dir / "absent").returncode, 0)
        self.assertFalse((self.dir / "absent").exists())

    def test_where_maven_cannot_fetch_the_exit_code_is_3(self):
        tools = self.dir / "bin"
        tools.mkdir()
        (tools / "mvn").write_text("#!/bin/sh\necho '[ERROR] the network is away'\nexit 1\n")
        (tools / "mvn").chmod(0o755)
        done = run("fetch", env={"TRAINYARD_CACHE": str(self.dir / "cache"), "PATH": f"{tools}:{os.environ['PATH']}"})
        self.assertEqual(done.returncode, 3)
        self.assertIn("the network is away", done.stderr.splitlines()[-1])
        self.assertFalse(list((self.dir / "cache").glob("*/complete")))


if __name__ == "__main__":
    if os.environ.get("TRAINYARD_WITHOUT_KAFKA"):
        skip(os.environ["TRAINYARD_WITHOUT_KAFKA"])
    fetched = run("fetch")
    if fetched.returncode == 3:
        skip(fetched.stderr.strip().splitlines()[-1])
    unittest.main()
