"""What a hostile client may try on the responder's port: each attack is followed by an ordinary call, which must be answered, and at the end
the process is the same, with as many descriptors and about as much memory as before. TRAINYARD_ATTACK_SEED repeats a run."""
import os
import random
import socket
import struct
import time
import unittest

import http2
import stack
from http2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, Connection, call_headers,
                   frame, header, message)

KINDS = stack.broker_kinds()
TRAINING = "/viam.app.mltraining.v1.MLTrainingService/"
SEED = int(os.environ.get("TRAINYARD_ATTACK_SEED", random.SystemRandom().randrange(1 << 32)))
# How much more memory than at the start may be in use when all is over: what the allocators keep of some 220 MiB at most, seen to be
# between 75 and 101 MiB.
KEPT_BYTES = 160 << 20
tried = {}


def count(name, number):
    tried[name] = tried.get(name, 0) + number


class Attack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.random = random.Random(SEED)
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        # The machine may be busy, and is attacked. What is large is given back when it is freed: how much the allocator keeps of it
        # would depend on how much of it was there at once.
        cls.responder = cls.yard.start_responder("--redis-timeout-ms", "4000", env={"MALLOC_MMAP_THRESHOLD_": "131072"})
        cls.address = cls.yard.server
        cls.jobs = [cls.yard.api.SubmitCustomTrainingJob(cls.yard.custom_request("none", f"m-{number}", {"text": "x" * 60000}), timeout=10).id
                    for number in range(40)]
        for _ in range(50):
            cls.ordinary()
        cls.memory_at_first, cls.descriptors_at_first = cls.memory(), cls.descriptors()
        # One that takes nothing of an answer until all is over.
        cls.slow = Connection(cls.address, settings=struct.pack(">HI", http2.INITIAL_WINDOW_SIZE, 0))
        cls.slow.call(TRAINING + "ListTrainingJobs", cls.list_request())

    @classmethod
    def tearDownClass(cls):
        pid = cls.responder.child.pid
        assert cls.responder.alive(), "the responder has ended"
        # responder/grpc_server.h: TY_GRPC_SEND_MS
        stack.wait_until(lambda: "grpc.slow_client" in cls.responder.log.read_text(errors="replace"), "who takes nothing is cut off", 40)
        cls.slow.close()
        stack.wait_until(lambda: cls.descriptors() <= cls.descriptors_at_first + 2, lambda: f"{cls.descriptors()} descriptors become "
                         f"{cls.descriptors_at_first} again", 70)
        if not os.environ.get("TRAINYARD_ASAN"):
            stack.wait_until(lambda: cls.memory() < cls.memory_at_first + KEPT_BYTES, lambda: f"{cls.memory()} bytes become about "
                             f"{cls.memory_at_first} again", 30)
        print(f"seed {SEED}; " + ", ".join(f"{name} {number}" for name, number in tried.items()))
        print(f"bad requests tried: {sum(tried.values())}, crashes 0; descriptors {cls.descriptors_at_first} before, {cls.descriptors()} after; "
              f"memory {cls.memory_at_first >> 20} MiB before, {cls.memory() >> 20} MiB after")
        cls.responder.signal(15)
        code = cls.responder.child.wait(30)
        assert code == 0, f"the responder's end: {code}"
        assert "ERROR: " not in cls.responder.log.read_text(errors="replace"), "a sanitizer has found something"

    @classmethod
    def memory(cls):
        with open(f"/proc/{cls.responder.child.pid}/statm") as text:
            return int(text.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @classmethod
    def descriptors(cls):
        return len(os.listdir(f"/proc/{cls.responder.child.pid}/fd"))

    @classmethod
    def ordinary(cls):
        """An ordinary client is served all the same."""
        job = cls.yard.api.GetTrainingJob(cls.yard.messages.ml.GetTrainingJobRequest(id=cls.jobs[0]), timeout=10)
        assert job.metadata.id == cls.jobs[0]

    def tearDown(self):
        self.assertTrue(self.responder.alive(), f"the responder has ended: {self.responder.child.returncode}")
        self.ordinary()

    def connect(self, **more):
        connection = Connection(self.address, **more)
        self.addCleanup(connection.close)
        return connection

    @classmethod
    def list_request(cls):
        return message(cls.yard.messages.ml.ListTrainingJobsRequest(organization_id=stack.ORGANIZATION).SerializeToString())

    def takes_at_most(self, grown, limit, what):
        if not os.environ.get("TRAINYARD_ASAN"): # that keeps what was freed
            self.assertLess(grown, limit, what)

    # ---- connections that are none

    def test_connects_and_garbage(self):
        host, port = self.address.split(":")
        for number in range(400):
            line = socket.create_connection((host, int(port)), 5)
            line.sendall((b"", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", os.urandom(300), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(200),
                          http2.PREFACE[:number % 24], http2.PREFACE + os.urandom(50), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r")[number % 7])
            line.close()
        count("connections", 400)

    # ---- one kind of frame too many

    def test_rapid_reset(self):
        """Calls that are taken back at once (CVE-2023-44487)."""
        get = message(self.yard.messages.ml.GetTrainingJobRequest(id=self.jobs[0]).SerializeToString())
        for turn in range(20):
            connection = self.connect()
            name, body = ("ListTrainingJobs", self.list_request()) if turn % 2 else ("GetTrainingJob", get)
            for _ in range(500):
                stream = connection.next_stream()
                if not connection.send(frame(HEADERS, END_HEADERS, stream, call_headers(TRAINING + name)) +
                                       frame(DATA, END_STREAM, stream, body) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))):
                    break
                count("rapid resets", 1)
            connection.close()

    def test_more_streams_than_are_allowed(self):
        connection = self.connect(seconds=2)
        for _ in range(3000):
            stream = connection.next_stream()
            if not connection.send(frame(HEADERS, END_HEADERS, stream, call_headers(TRAINING + "GetTrainingJob"))):
                break
        count("open streams", 3000)
        taken = [entry for entry in connection.frames() if entry[0] == WINDOW_UPDATE and entry[2]]
        self.assertLessEqual(len(taken), 1000, "no more than TY_GRPC_STREAMS are taken up")

    def test_pings(self):
        connection = self.connect()
        sent = 0
        while sent < 20000 and connection.send(frame(PING, 0, 0, b"12345678") * 100):
            sent += 100
        count("pings", sent)
        last = connection.frames(lambda kind, *rest: kind == GOAWAY, 50000)
        self.assertTrue(last and last[-1][0] == GOAWAY, "too many pings end the connection")

    def test_pings_ten_seconds_apart_are_allowed(self):
        """Twice, without a call: 10 s apart, as clients do that keep a connection."""
        connection = self.connect()
        for number in range(2):
            self.assertTrue(connection.send(frame(PING, 0, 0, struct.pack(">Q", number))))
            answers = connection.frames(lambda kind, flags, *rest: kind == PING and flags == 1)
            self.assertTrue(any(kind == PING for kind, *_ in answers))
            self.assertFalse(any(kind == GOAWAY for kind, *_ in answers))
            if not number:
                self.assertFalse(connection.is_closed(10))

    def test_settings(self):
        connection = self.connect(receive_buffer=4096, seconds=5)
        sent = 0
        while sent < 200000 and connection.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 1000):
            sent += 1000 # the acknowledgements are not read
        count("settings", sent)

    def test_resets_and_windows_of_streams_that_are_none(self):
        for payload in (frame(RST_STREAM, 0, 7, b"\0\0\0\1"), frame(WINDOW_UPDATE, 0, 9, b"\0\0\0\1"), frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"),
                        frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 3, frame(11, 0, 1, b"unknown"), frame(PING, 0, 0, b"1"), frame(SETTINGS, 1, 0, b"x" * 6),
                        frame(GOAWAY, 0, 0, b"\0" * 8), frame(CONTINUATION, 4, 1, b"x"), frame(DATA, 0, 1, b"x"), frame(HEADERS, 4, 2, call_headers("/x")),
                        frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)), frame(HEADERS, 0x2c, 1, b"\xff" * 6), b"\xff\xff\xff" + b"\0" * 6):
            connection = self.connect(seconds=1)
            connection.send(payload * 50)
            connection.close()
            count("odd frames", 50)

    # ---- headers

    def test_headers_that_never_end(self):
        """A client that begins a call's headers and says nothing more, on 100 connections at once; others are served."""
        slow = [self.connect() for _ in range(100)]
        for connection in slow:
            connection.send(frame(HEADERS, 0, 1, call_headers(TRAINING + "GetTrainingJob")[:20]))
        for _ in range(20):
            self.ordinary()
        count("slow headers", 100)
        for connection in slow:
            connection.close()

    def test_continuations(self):
        before = self.memory()
        sent = 0
        connection = self.connect(seconds=5)
        stream = connection.next_stream()
        connection.send(frame(HEADERS, 0, stream, call_headers(TRAINING + "GetTrainingJob")))
        part = frame(CONTINUATION, 0, stream, b"".join(header(f"x-{number}", "y" * 900) for number in range(16)))
        while sent < 4000 and connection.send(part):
            sent += 1
        grown = self.memory() - before
        count("continuations", sent)
        self.takes_at_most(grown, 64 << 20, f"{sent} frames of 15 kB took {grown} bytes")

    def test_headers_that_are_too_large(self):
        import grpc
        channel = grpc.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        stub = self.yard.messages.ml_grpc.MLTrainingServiceStub(channel)
        for size in (20000, 200000, 2000000):
            with self.assertRaises(grpc.RpcError) as caught:
                stub.GetTrainingJob(self.yard.messages.ml.GetTrainingJobRequest(id=self.jobs[0]), timeout=10, metadata=[("x-large", "x" * size)])
            self.assertIn(caught.exception.code(), (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL))
        count("large headers", 3)
        for _ in range(50): # a table that is filled
            connection = self.connect()
            connection.send(frame(HEADERS, END_HEADERS, 1, b"".join(header(f"n{number}", os.urandom(20).hex(), True) for number in range(200))))
            connection.close()
        count("filled tables", 50)

    def test_headers_that_are_wrong(self):
        whole = call_headers(TRAINING + "GetTrainingJob")
        for number in range(2000):
            if number % 200 == 0:
                connection = self.connect()
            connection.send(frame(HEADERS, END_HEADERS | END_STREAM, connection.next_stream(), http2.mutate(self.random, whole)[:16000]))
            if not connection.send(b""):
                connection = self.connect()
            if number % 20 == 19:
                connection.close()
                connection = self.connect()
        count("wrong headers", 2000)
        for more in ({"content_type": None}, {"content_type": "text/html"}, {"te": None}, {":method": "GET"}, {":path": None}, {":scheme": "gopher"},
                     {"grpc_timeout": "99999999999H"}, {"grpc_timeout": "-1S"}, {"grpc_encoding": "lzma"}, {"authorization": "\xff\xfe"}, {":path": "/" * 9000}):
            connection = self.connect()
            connection.call(more.pop(":path", TRAINING + "GetTrainingJob") or "", message(b""), **more)
            connection.close()
            count("wrong headers", 1)

    # ---- readers that do not read

    def test_readers_with_a_window_of_zero(self):
        """Answers of 2.4 MB each that nobody takes: calls are refused before they take all memory, and what waits is given up."""
        before = self.memory()
        stuck = []
        for _ in range(8):
            connection = self.connect(settings=struct.pack(">HI", http2.INITIAL_WINDOW_SIZE, 0))
            for _ in range(100):
                connection.call(TRAINING + "ListTrainingJobs", self.list_request())
                count("window of zero", 1)
            stuck.append(connection)
        time_limit = time.monotonic() + 5
        peak = 0
        while time.monotonic() < time_limit:
            peak = max(peak, self.memory() - before)
            self.ordinary()
        print(f"800 answers that nobody reads took {peak >> 20} MiB at most")
        self.takes_at_most(peak, 400 << 20, "answers that nobody reads")
        for connection in stuck:
            connection.close()

    # ---- requests

    def paths(self):
        ml, log = self.yard.messages.ml, self.yard.messages.log_service
        return {TRAINING + "SubmitTrainingJob": ml.SubmitTrainingJobRequest(organization_id="o", dataset_id="d", model_name="m", model_version="1", tags=["a", "b"], model_type=1),
                TRAINING + "SubmitCustomTrainingJob": self.yard.custom_request("none", "m", {"a": "b"}),
                TRAINING + "GetTrainingJob": ml.GetTrainingJobRequest(id=self.jobs[0]),
                TRAINING + "ListTrainingJobs": ml.ListTrainingJobsRequest(organization_id="nobody", status=1),
                TRAINING + "CancelTrainingJob": ml.CancelTrainingJobRequest(id=self.jobs[1]),
                TRAINING + "DeleteCompletedTrainingJob": ml.DeleteCompletedTrainingJobRequest(id=self.jobs[1]),
                TRAINING + "GetTrainingJobLogs": ml.GetTrainingJobLogsRequest(id=self.jobs[0], page_token="AAAA"),
                TRAINING + "ListSupportedContainers": ml.ListSupportedContainersRequest(),
                "/trainyard.v1.LogService/Follow": ml.GetTrainingJobRequest(id=self.jobs[0]),
                "/trainyard.v1.JobService/ListJobs": ml.ListTrainingJobsRequest(organization_id="nobody", status=1),
                "/trainyard.v1.JobService/GetJob": ml.GetTrainingJobRequest(id=self.jobs[0]),
                "/grpc.health.v1.Health/Check": ml.GetTrainingJobRequest(id="x"), "/grpc.health.v1.Health/Watch": ml.GetTrainingJobRequest(id="x"),
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ml.GetTrainingJobRequest(id="x"),
                "/proto.rpc.v1.AuthService/Authenticate": ml.GetTrainingJobRequest(id="x"),
                "/viam.app.v1.AppService/ListOrganizations": ml.GetTrainingJobRequest(id="x")}

    def test_requests_that_are_wrong(self):
        for path, request in self.paths().items():
            whole = request.SerializeToString()
            for batch in range(5):
                connection = self.connect(seconds=20)
                calls = 60
                for _ in range(calls):
                    body = http2.mutate(self.random, whole)
                    if body == whole:
                        continue
                    connection.call(path, message(body))
                    count("wrong messages", 1)
                connection.close()
        for framing in (message(b"abc", compressed=1), message(b"abc", compressed=7), message(b"abc", length=0xffffffff), message(b"abc", length=2 << 20),
                        message(b"abc", length=1), b"", b"\0", b"\0\0\0\0\0" * 2, message(os.urandom(2 << 20))):
            for path in self.paths():
                connection = self.connect(seconds=5)
                connection.call(path, framing)
                connection.close()
                count("wrong framing", 1)


if __name__ == "__main__":
    unittest.main()
