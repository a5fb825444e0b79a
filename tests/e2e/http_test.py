"""The responder over HTTP: JSON, gRPC-Web and server-sent events by clients that are not ours (curl, http.client, raw sockets);
what is wrong, slow, huge or cut off; and the examples of docs/http.md."""
import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest
import warnings

import certificates
import stack

KINDS = stack.broker_kinds()
ML = "/viam.app.mltraining.v1.MLTrainingService/"
FOLLOW = "/trainyard.v1.LogService/Follow"
WATCH = "/grpc.health.v1.Health/Watch"
JSON = {"content-type": "application/json"}
WEB = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
ORIGIN = "https://app.example.com"
FOLLOWERS = 1000

PRINTER = """
i=0
while [ ! -e "$ARG_stop" ]; do i=$((i + 1)); echo "line $i"; sleep "$ARG_pause"; done
echo nothing > "$OUTPUT/model.txt"
"""


class Events:
    """The events of one answer, as they come."""

    def __init__(self, address, path, method="GET", body=None, headers=()):
        self.line = http.client.HTTPConnection(address, timeout=30)
        self.line.request(method, path, body, dict(headers))
        self.answer = self.line.getresponse()
        self.status = self.answer.status

    def next(self):
        """(name, id, data), or None at the end."""
        name, last_id, data = "message", None, None
        for line in iter(self.answer.readline, b""):
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if not key:
                if data is not None:
                    return name, last_id, data
            elif key == "event":
                name = value
            elif key == "id":
                last_id = value
            elif key == "data":
                data = json.loads(value)
        return None

    def close(self):
        self.answer.close()
        self.line.close()


class Http(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        yard = cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        yard.script("printer", PRINTER)
        cls.port_file = yard.dir / "http.port"
        yard.start_responder("--http-listen", "127.0.0.1:0", "--http-port-file", cls.port_file, "--http-origin", ORIGIN,
                             "--http-max-connections", "1600", "--http-max-per-address", "1500", "--max-followers", str(FOLLOWERS))
        cls.address = cls.port_file.read_text().strip()
        yard.start_worker("worker-1", "--slots", "2")
        stack.wait_until(lambda: cls.ask("GET", "/readyz")[0] == 200, "the store is there")
        yard.wait_whole()
        cls.at_first, cls.slow_took = cls._descriptors(), {}
        for name, first in (("headers", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"), ("first line", b"GET /"),
                            ("body", f"POST {ML}GetTrainingJob HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                                     "content-length: 1000\r\n\r\n".encode())):
            threading.Thread(target=cls.be_slow, args=(name, first), daemon=True).start()

    @classmethod
    def be_slow(cls, name, first):
        """Sends something now and then, so that the connection is never quiet; how long that goes well."""
        began = time.monotonic()
        host, port = cls.address.split(":")
        with socket.create_connection((host, int(port)), 10) as line, contextlib.suppress(ConnectionError):
            line.sendall(first)
            line.settimeout(1)
            while True:
                with contextlib.suppress(TimeoutError):
                    if not line.recv(1000):
                        break
                line.sendall(b"x: y\r\n" if name == "headers" else b"x")
        cls.slow_took[name] = time.monotonic() - began

    @classmethod
    def ask(cls, method, path, body=None, headers=(), as_it_comes=None):
        """(status, body, headers); `as_it_comes` is called with as much of the body as is there."""
        line = http.client.HTTPConnection(cls.address, timeout=30)
        try:
            line.request(method, path, body, dict(headers))
            answer = line.getresponse()
            got = b""
            while part := answer.read1(1 << 16):
                got += part
                if as_it_comes:
                    as_it_comes(got)
            return answer.status, got, answer.headers
        finally:
            line.close()

    def call(self, method, message, headers=()):
        status, body, _ = self.ask("POST", ML + method, json.dumps(message), {**JSON, **dict(headers)})
        return status, json.loads(body)

    def web(self, method, message, headers=(), service=ML, as_it_comes=None):
        """A gRPC-Web call: (grpc-status, messages, trailers)."""
        data = message.SerializeToString()
        status, body, got = self.ask("POST", service + method, b"\0" + len(data).to_bytes(4, "big") + data, {**WEB, **dict(headers)},
                                     as_it_comes)
        self.assertEqual(status, 200)
        self.assertEqual(got["content-type"], "application/grpc-web+proto")
        if got["grpc-status"]:
            self.assertEqual(body, b"")
            return int(got["grpc-status"]), [], got
        messages, trailers = [], None
        while body:
            flag, size = body[0], int.from_bytes(body[1:5], "big")
            self.assertLessEqual(size, len(body) - 5)
            self.assertIsNone(trailers, "the trailers are the last")
            if flag == 0x80:
                lines = body[5:5 + size].decode()
                self.assertTrue(lines.endswith("\r\n"))
                trailers = dict(line.split(": ", 1) for line in lines[:-2].split("\r\n"))
            else:
                self.assertEqual(flag, 0)
                messages.append(body[5:5 + size])
            body = body[5 + size:]
        return int(trailers["grpc-status"]), messages, trailers

    def raw(self, data, seconds=10):
        """Sends bytes as they are; all that comes back until the server closes or is quiet."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), seconds) as line:
            with contextlib.suppress(ConnectionError):
                line.sendall(data)
            got = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                line.settimeout(seconds)
                while chunk := line.recv(65536):
                    got += chunk
                    line.settimeout(0.5)
            return got

    def start_job(self, name, pause="0.05"):
        stop = self.yard.dir / f"{name}.stop"
        return self.yard.publish_custom(self.yard.custom_request("printer", name, {"stop": str(stop), "pause": pause})), stop

    # ---- JSON

    def test_a_job_from_submit_to_delete_with_json(self):
        stop = self.yard.dir / "json.stop"
        request = {"organizationId": stack.ORGANIZATION, "dataset_id": "empty-set", "registryItemId": "test:printer", "modelName": "json",
                   "modelVersion": "1", "containerVersion": "shell:1", "arguments": {"stop": str(stop), "pause": "0.05"}}
        options = {"idempotency-key": "json-1", "trainyard-label": "team=vision", "Trainyard-Priority": "3"}
        status, answer = self.call("SubmitCustomTrainingJob", request, options)
        self.assertEqual((status, list(answer)), (200, ["id"]))
        self.assertEqual(self.call("SubmitCustomTrainingJob", request, options), (200, answer))
        status, other = self.call("SubmitCustomTrainingJob", {**request, "modelName": "other"}, options)
        self.assertEqual((status, other["code"]), (409, "already_exists"))
        job = {"id": answer["id"]}
        status, got = self.call("GetTrainingJob", job)
        self.assertEqual((status, got["metadata"]["modelName"], got["metadata"]["isCustomJob"]), (200, "json", True))
        self.assertRegex(got["metadata"]["createdOn"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        # The options go the way of gRPC's trailing metadata.
        _, _, headers = self.ask("POST", ML + "GetTrainingJob", json.dumps(job), JSON)
        options_bytes = base64.b64decode(headers["trailer-trainyard-options-bin"] + "==")
        self.assertEqual(self.yard.messages.command.JobOptions.FromString(options_bytes).labels, {"team": "vision"})
        self.yard.wait_status(job["id"], stack.IN_PROGRESS)
        _, listed = self.call("ListTrainingJobs", {"organizationId": stack.ORGANIZATION, "status": "TRAINING_STATUS_IN_PROGRESS"})
        self.assertIn(job["id"], [each["id"] for each in listed["jobs"]])
        self.assertEqual(self.call("DeleteCompletedTrainingJob", job)[1]["code"], "failed_precondition")
        self.assertEqual(self.call("CancelTrainingJob", job), (200, {}))
        self.yard.wait_end(job["id"])
        stack.wait_until(lambda: self.call("GetTrainingJobLogs", job)[1].get("logs"), "the log is there")
        self.assertEqual(self.call("DeleteCompletedTrainingJob", job), (200, {}))
        self.assertEqual(self.call("GetTrainingJob", job)[0], 404)

    def test_our_service_with_json(self):
        """Lists in pages, and a job with what it tells: labels are a map, times and numbers as proto3 says, NaN a text."""
        def ask(method, message):
            status, body, _ = self.ask("POST", "/trainyard.v1.JobService/" + method, json.dumps(message), JSON)
            return status, json.loads(body)
        self.yard.script("teller", """echo '{"trainyard": {"step": 3, "steps": 4, "metrics": {"loss": NaN}}}'
echo model >"$OUTPUT/model.txt"
""")
        options = self.yard.messages.command.JobOptions(labels={"page": "one"})
        ids = [self.yard.publish_custom(self.yard.custom_request("teller", f"teller-{i}"), options) for i in range(3)]
        for job_id in ids:
            self.assertEqual(self.yard.wait_end(job_id).status, stack.COMPLETED)
        request = {"organizationId": stack.ORGANIZATION, "labels": {"page": "one"}, "order": "JOB_ORDER_ENDED", "limit": 2,
                   "statuses": ["TRAINING_STATUS_COMPLETED"], "endedSince": "2020-01-01T00:00:00Z"}
        _, first = ask("ListJobs", request)
        _, second = ask("ListJobs", {**request, "pageToken": first["nextPageToken"]})
        self.assertNotIn("nextPageToken", second)
        self.assertEqual(sorted(job["metadata"]["id"] for job in first["jobs"] + second["jobs"]), sorted(ids))
        self.assertEqual(ask("ListJobs", {**request, "pageToken": "AAAA"})[1]["code"], "invalid_argument")
        _, got = ask("GetJob", {"id": ids[0]})
        self.assertEqual((got["job"]["options"]["labels"], got["job"]["attempt"]), ({"page": "one"}, 1))
        self.assertEqual((got["progress"]["fraction"], got["progress"]["steps"]), (0.75, "4"))
        self.assertEqual((got["progress"]["metrics"][0]["name"], got["progress"]["metrics"][0]["value"]), ("loss", "NaN"))
        self.assertEqual(got["history"][-1]["status"], "TRAINING_STATUS_COMPLETED")
        self.assertEqual(ask("GetJob", {"id": "no-such-job"})[0], 404)

    def test_every_unary_method_takes_json_and_bytes(self):
        ml = self.yard.messages.ml
        for method in ("SubmitTrainingJob", "SubmitCustomTrainingJob", "GetTrainingJob", "ListTrainingJobs", "CancelTrainingJob",
                       "DeleteCompletedTrainingJob", "GetTrainingJobLogs", "ListSupportedContainers"):
            good = method == "ListSupportedContainers"
            status, answer = self.call(method, {})
            self.assertEqual((status, answer.get("code")), (200, None) if good else (400, "invalid_argument"), method)
            status, body, headers = self.ask("POST", ML + method, b"", {"content-type": "application/proto"})
            self.assertEqual((status, headers["content-type"]), (200, "application/proto") if good else (400, "application/json"))
            if good:
                self.assertEqual({key: value.uri for key, value in ml.ListSupportedContainersResponse.FromString(body).container_map.items()},
                                 {key: value["uri"] for key, value in answer["containerMap"].items()})

    def test_what_is_wrong_is_said_with_the_right_status(self):
        get = ML + "GetTrainingJob"
        cases = [
            ("POST", "/no/such", "{}", JSON, 404, "unimplemented"),
            ("POST", get + "/", "{}", JSON, 404, "unimplemented"),
            ("GET", get, None, {}, 405, "unimplemented"), ("PUT", get, "{}", JSON, 405, "unimplemented"),
            ("DELETE", "/healthz", None, {}, 405, "unimplemented"),
            ("POST", get, "{}", {"content-type": "text/plain"}, 415, "invalid_argument"), ("POST", get, "{}", {}, 415, "invalid_argument"),
            ("POST", get, "{}", {"content-type": "application/grpc"}, 415, "invalid_argument"),
            ("POST", get, "{}", {"content-type": "application/grpc-web-text"}, 415, "invalid_argument"),
            ("POST", FOLLOW, "", {"content-type": "application/proto"}, 415, "invalid_argument"),
            ("POST", get, "{}", {**JSON, "content-encoding": "gzip"}, 415, "unimplemented"),
            ("POST", get, "{}", {**JSON, "connect-protocol-version": "2"}, 400, "invalid_argument"),
            ("POST", get, "", JSON, 400, "invalid_argument"), ("POST", get, "{", JSON, 400, "invalid_argument"),
            ("POST", get, '{"idd": "x"}', JSON, 400, "invalid_argument"), ("POST", get, '{"id": "\\ud800"}', JSON, 400, "invalid_argument"),
            ("POST", get, b"\xff\xff", {"content-type": "application/proto"}, 400, "invalid_argument"),
            ("POST", get, '{"id": "' + "x" * (2 << 20) + '"}', JSON, 413, "resource_exhausted"),
            ("POST", get, b"x" * ((1 << 20) + 6), {"content-type": "application/proto"}, 413, "resource_exhausted"),
            ("POST", get, '{"id": "' + "x" * (3 << 19) + '"}', JSON, 429, "resource_exhausted"),
            ("POST", ML + "SubmitTrainingJob", "{}", {**JSON, "trainyard-prioritee": "1"}, 400, "invalid_argument"),
            ("GET", FOLLOW + "?id=a&id=b", None, {}, 400, "invalid_argument"), ("GET", FOLLOW + "?idd=a", None, {}, 400, "invalid_argument"),
            ("GET", FOLLOW + "?id=%ff", None, {}, 400, "invalid_argument"), ("GET", FOLLOW, None, {}, 400, "invalid_argument"),
        ]
        for method, path, body, headers, status, code in cases:
            got, answer, sent = self.ask(method, path, body, headers)
            self.assertEqual((got, json.loads(answer)["code"]), (status, code), (method, path, (body or "")[:40], headers, answer))
            self.assertEqual(sent["content-type"], "application/json")
            if got == 405:
                self.assertTrue(sent["allow"])
        self.assertEqual(self.ask("POST", ML + "ListSupportedContainers", "{}", {"content-type": "Application/JSON; charset=utf-8"})[0], 200)

    # ---- gRPC-Web

    def test_grpc_web(self):
        ml = self.yard.messages.ml
        status, messages, _ = self.web("ListSupportedContainers", ml.ListSupportedContainersRequest())
        self.assertEqual((status, len(messages)), (0, 1))
        self.assertIn("shell:1", ml.ListSupportedContainersResponse.FromString(messages[0]).container_map)
        status, messages, _ = self.web("ListTrainingJobs", ml.ListTrainingJobsRequest(organization_id="nobody"))
        self.assertEqual((status, messages), (0, [b""]), "an empty message has its frame")
        status, messages, headers = self.web("GetTrainingJob", ml.GetTrainingJobRequest(id="none"), {"origin": ORIGIN})
        self.assertEqual((status, messages, headers["grpc-message"]), (5, [], "there is no job of this id"))
        self.assertEqual(headers["access-control-allow-origin"], ORIGIN)
        for name in ("grpc-status", "grpc-message", "grpc-status-details-bin"):
            self.assertIn(name, headers["access-control-expose-headers"])
        status, _, _ = self.web("NoSuchMethod", ml.GetTrainingJobRequest())
        self.assertEqual(status, 12)
        # The message is not ASCII: percent-encoded.
        status, _, headers = self.web("GetTrainingJobLogs", ml.GetTrainingJobLogsRequest(id="x", page_token="\u00e4%\n"))
        self.assertNotEqual(status, 0)
        self.assertTrue(headers["grpc-message"].isascii())

    def test_grpc_web_bodies_that_are_none(self):
        def status_of(body, headers=()):
            status, answer, got = self.ask("POST", ML + "GetTrainingJob", body, {**WEB, **dict(headers)})
            self.assertEqual((status, answer), (200, b""))
            return int(got["grpc-status"])
        frame = b"\0\0\0\0\3\x0a\x01x"
        self.assertEqual(status_of(frame), 5)
        self.assertEqual([status_of(body) for body in (b"", frame[:3], frame[:-1], frame * 2, b"\1" + frame[1:], b"\x80" + frame[1:],
                                                       b"\0\xff\xff\xff\xff", frame + b"\0", b"\0\0\0\0\1\xff")], [3] * 9)
        self.assertEqual(status_of(b"\0" * (2 << 20)), 8)

    def test_grpc_web_streams(self):
        job, stop = self.start_job("web-stream")
        self.yard.wait_status(job, stack.IN_PROGRESS)
        service = self.yard.messages.log_service
        # The job ends when its first lines are here: they come one by one, and not when all is over.
        status, messages, _ = self.web("Follow", service.FollowRequest(id=job), service="/trainyard.v1.LogService/",
                                       as_it_comes=lambda got: b"line 2" in got and stop.touch())
        replies = [service.FollowReply.FromString(message) for message in messages]
        self.assertEqual(status, 0)
        self.assertGreater(len(replies), 1)
        self.assertTrue(replies[-1].end.complete)
        lines = [record.entry.message for reply in replies for record in reply.records if record.entry.message.startswith("line ")]
        self.assertEqual(lines[:2], ["line 1", "line 2"])
        status, messages, headers = self.web("Follow", service.FollowRequest(id="none"), service="/trainyard.v1.LogService/")
        self.assertEqual((status, messages), (5, []))

    # ---- pages of other origins

    def test_preflights(self):
        asked = "authorization,content-type,viam_client,x-grpc-web,x-user-agent"
        headers = {"origin": ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": asked}
        status, body, got = self.ask("OPTIONS", ML + "GetTrainingJob", None, headers)
        self.assertEqual((status, body), (204, b""))
        self.assertEqual((got["access-control-allow-origin"], got["access-control-allow-headers"]), (ORIGIN, asked))
        self.assertIn("POST", got["access-control-allow-methods"])
        self.assertEqual(got["vary"], "origin")
        status, _, got = self.ask("OPTIONS", ML + "GetTrainingJob", None, {**headers, "origin": "https://evil.example"})
        self.assertEqual((status, got["access-control-allow-origin"]), (403, None))
        _, _, got = self.ask("POST", ML + "GetTrainingJob", "{}", {**JSON, "origin": "https://evil.example"})
        self.assertIsNone(got["access-control-allow-origin"])
        _, _, got = self.ask("POST", ML + "GetTrainingJob", "{}", {**JSON, "origin": ORIGIN})
        self.assertEqual(got["access-control-allow-origin"], ORIGIN)
        status, _, got = self.ask("OPTIONS", ML + "GetTrainingJob", None, {**headers, "access-control-request-headers": "a\tb"})
        self.assertEqual((status, got["access-control-allow-headers"]), (204, None))

    def test_a_name_that_leads_here_is_not_ours(self):
        """A page may make its own name lead to 127.0.0.1; then it is of the same origin, and no preflight is asked for."""
        for host, status in (("evil.example", 421), ("evil.example:8481", 421), ("127.0.0.1.evil.example", 421), ("[::2]", 421),
                             ("128.0.0.1", 421), ("x" * 200, 421), ("localhost", 200), ("LOCALHOST:1", 200), ("127.9.9.9:1", 200), ("[::1]:1", 200)):
            self.assertEqual(self.ask("POST", ML + "ListSupportedContainers", "{}", {**JSON, "host": host})[0], status, host)
        # Who has to log in may come by a proxy.
        line = http.client.HTTPConnection(self.start_another("--auth", "keys"), timeout=10)
        line.request("POST", ML + "ListSupportedContainers", "{}", {**JSON, "host": "trainyard.example"})
        self.assertEqual(line.getresponse().status, 401)
        line.close()

    # ---- events

    def test_a_log_is_followed_and_taken_up_again(self):
        job, stop = self.start_job("events")
        self.yard.wait_status(job, stack.IN_PROGRESS)
        seen, last_id = [], None
        for round_number in range(3):
            events = Events(self.address, f"{FOLLOW}?id={job}&tail=1000", headers={"last-event-id": last_id} if last_id else {})
            self.assertEqual((events.status, events.answer.headers["content-type"]), (200, "text/event-stream"))
            if round_number == 2:
                stop.touch()
            lines = 0
            while round_number == 2 or lines < 5:
                name, event_id, data = events.next()
                if name == "end":
                    self.assertEqual(data, {})
                    self.assertIsNone(events.next())
                    break
                last_id = event_id or last_id
                records = [record["entry"]["message"] for record in data.get("records", [])]
                seen += records
                lines += sum(record.startswith("line ") for record in records)
                if "end" in data:
                    self.assertEqual(data["end"], {"status": "TRAINING_STATUS_COMPLETED", "complete": True})
            events.close()
        lines = [line for line in seen if line.startswith("line ")]
        self.assertEqual(lines, [f"line {number}" for number in range(1, len(lines) + 1)], "nothing twice, nothing missing")
        self.assertGreaterEqual(len(lines), 10)
        # The same by POST, of what is there.
        events = Events(self.address, FOLLOW, "POST", json.dumps({"id": job, "untilNow": True}), JSON)
        got = []
        while (event := events.next())[0] != "end":
            got += [record["entry"]["message"] for record in event[2].get("records", [])]
        events.close()
        self.assertEqual(got, seen)
        self.assertEqual(self.ask("GET", f"{FOLLOW}?id={job}", headers={"last-event-id": "wrong"})[0], 400)

    def test_a_thousand_followers(self):
        job, stop = self.start_job("thousand", "0.5")
        self.yard.wait_status(job, stack.IN_PROGRESS)
        host, port = self.address.split(":")
        request = f"GET {FOLLOW}?id={job} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
        memory_before = self._memory()
        lines = [socket.create_connection((host, int(port)), 30) for _ in range(FOLLOWERS)]
        for line in lines:
            line.sendall(request)
        for line in lines:
            self.assertTrue(line.recv(64).startswith(b"HTTP/1.1 200"))
        status, answer, _ = self.ask("GET", f"{FOLLOW}?id={job}")
        self.assertEqual((status, json.loads(answer)["code"]), (429, "resource_exhausted"), "one more is refused")
        began = time.monotonic()
        self.assertEqual(self.call("GetTrainingJob", {"id": job})[0], 200)
        self.assertLess(time.monotonic() - began, 20, "others are served beside them")
        stop.touch()
        ended, waiting = 0, {line.fileno(): [line, b""] for line in lines}
        poller = select.poll()
        for number in waiting:
            poller.register(number, select.POLLIN)
        deadline = time.monotonic() + 60
        while waiting and time.monotonic() < deadline:
            for number, _ in poller.poll(1000):
                line, tail = waiting[number]
                data = line.recv(1 << 16)
                waiting[number][1] = (tail + data)[-64:]
                if b"event: end\ndata: {}" in waiting[number][1] or not data:
                    ended += b"event: end\ndata: {}" in waiting[number][1]
                    poller.unregister(number)
                    del waiting[number]
        memory_after = self._memory()
        for line in lines:
            line.close()
        self.assertEqual(ended, FOLLOWERS)
        print(f"{FOLLOWERS} followers over HTTP: {memory_before} KiB before, {memory_after} KiB with them", file=sys.stderr)
        self.assertLess(memory_after - memory_before, 200 * 1024)

    def _memory(self):
        status = pathlib.Path(f"/proc/{self.yard.responder.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def test_clients_that_leave_are_forgotten(self):
        stack.wait_until(lambda: len(self.slow_took) == 3, "the slow clients are closed: they would go while the others are counted", 60)
        # So would those of the tests before.
        stack.wait_until(lambda: self._descriptors() <= self.at_first + 5, lambda: f"{self.at_first} descriptors, not {self._descriptors()}")
        before = self._descriptors()
        lines = [Events(self.address, WATCH) for _ in range(50)]
        for line in lines:
            self.assertEqual(line.next(), ("message", None, {"status": "SERVING"}))
        self.assertGreaterEqual(self._descriptors(), before + 45)
        for line in lines:
            line.close()
        # Nothing is sent to a watcher: that it has left is seen at its socket.
        stack.wait_until(lambda: self._descriptors() <= before + 5, lambda: f"{before} descriptors, not {self._descriptors()}", 30)

    @classmethod
    def _descriptors(cls):
        return len(os.listdir(f"/proc/{cls.yard.responder.child.pid}/fd"))

    # ---- bytes on the wire

    def test_requests_byte_by_byte_and_many_at_once(self):
        body = b'{"id":"x"}'
        request = (f"POST {ML}GetTrainingJob HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n").encode() + body
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), 10) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in request:
                line.sendall(bytes([byte]))
            self.assertTrue(line.recv(4096).startswith(b"HTTP/1.1 404"))
            # Twenty at once on the same connection: as many answers, in order.
            listing = request.replace(b"GetTrainingJob", b"ListTrainingJobs")
            line.sendall((request + listing) * 10)
            got = b""
            while len(re.findall(rb"HTTP/1.1 \d+", got)) < 20 or not got.endswith(b"}"):
                got += line.recv(65536)
            self.assertEqual(re.findall(rb"HTTP/1.1 (\d+)", got), [b"404", b"400"] * 10)
        # A message of gRPC-Web in chunks that cut its envelope.
        chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in b"\0\0\0\0\3\x0a\x01x") + b"0\r\n\r\n"
        got = self.raw((f"POST {ML}GetTrainingJob HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc-web\r\nConnection: close\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n").encode() + chunks)
        self.assertIn(b"grpc-status: 5", got)

    def test_bytes_that_are_no_request(self):
        long_header = b"x" * 40000
        for data, status in ((b"\0\1\2\3\r\n\r\n", (b"400",)), (b"GET /healthz HTTP/1.1\r\n\r\n", (b"400",)),
                             (b"GET /" + long_header + b" HTTP/1.1\r\nhost: localhost\r\n\r\n", (b"414", b"431")),
                             (b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: " + long_header + b"\r\n\r\n", (b"431",)),
                             (b"GET /healthz HTTP/9.9\r\nhost: localhost\r\n\r\n", (b"505", b"400")),
                             (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (b"505", b"400")),
                             (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n", (b"400",))):
            got = self.raw(data, 1)
            if got:  # or the connection was just closed
                self.assertIn(got[9:12], status, (data[:20], got[:80]))
        self.assertEqual(self.raw(f"POST {ML}GetTrainingJob HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                                  f"content-length: 99999999999999\r\n\r\n".encode())[9:12], b"413")
        endless = b"".join((b"10000\r\n", b"x" * 65536, b"\r\n")) * 160
        got = self.raw(f"POST {ML}GetTrainingJob HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                       "transfer-encoding: chunked\r\n\r\n".encode() + endless)
        self.assertNotIn(b"HTTP/1.1 200", got, "a body without an end is cut off")
        self.assertEqual(self.ask("GET", "/healthz")[0], 200)

    def test_requests_that_are_nearly_right(self):
        """Good requests with some bytes changed, moved, doubled or left out."""
        seed = int(os.environ.get("TRAINYARD_HTTP_SEED", random.randrange(1 << 32)))
        rng = random.Random(seed)
        frame = b"\0\0\0\0\3\x0a\x01x"
        good = [head.format(ML=ML, FOLLOW=FOLLOW, WATCH=WATCH, n=len(body)).replace("\n", "\r\n").encode() + body for head, body in (
            ("POST {ML}GetTrainingJob HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: {n}\n\n", b'{"id":"x"}'),
            ("POST {ML}SubmitTrainingJob HTTP/1.1\nHost: localhost\nContent-Type: application/json\nTrainyard-Label: a=b\n"
             "Idempotency-Key: k\nContent-Length: {n}\n\n", b'{"tags":["a"],"modelType":1,"organizationId":"o"}'),
            ("POST {ML}GetTrainingJob HTTP/1.1\nHost: localhost\nContent-Type: application/grpc-web+proto\nGrpc-Timeout: 1S\n"
             "Content-Length: {n}\n\n", frame),
            ("POST /grpc.reflection.v1.ServerReflection/ServerReflectionInfo HTTP/1.1\nHost: localhost\nContent-Type: application/grpc-web\n"
             "Transfer-Encoding: chunked\n\n", b"10\r\n" + b"\0\0\0\0\3\x3a\1*" * 2 + b"\r\n0\r\n\r\n"),
            ("GET {FOLLOW}?id=x&tail=3&untilNow=true HTTP/1.1\nHost: localhost\nLast-Event-ID: abc\n\n", b""),
            ("GET {WATCH}?service= HTTP/1.1\nHost: localhost\nOrigin: https://app.example.com\n\n", b""),
            ("OPTIONS {ML}GetTrainingJob HTTP/1.1\nHost: localhost\nOrigin: https://app.example.com\nAccess-Control-Request-Method: POST\n"
             "Access-Control-Request-Headers: authorization\n\n", b""))]
        host, port = self.address.split(":")
        count = int(os.environ.get("TRAINYARD_HTTP_BAD", 1000))
        for _ in range(count):
            request = bytearray(rng.choice(good) * rng.choice((1, 1, 1, 2)))
            for _ in range(rng.choice((1, 1, 2, 5, 20))):
                at, size = rng.randrange(len(request) + 1), rng.choice((1, 1, 2, 8, 60))
                piece = rng.choice((b"", rng.randbytes(size), bytes(request[at:at + size]) * 2, b"\0" * size, b"\r\n\r\n", b"9" * size))
                request[at:at + rng.choice((0, size))] = piece
            with socket.create_connection((host, int(port)), 10) as line, contextlib.suppress(ConnectionError):
                line.sendall(request)
                if rng.random() < 0.5:
                    line.settimeout(0.01)
                    with contextlib.suppress(TimeoutError):
                        line.recv(1 << 16)
        print(f"{count} requests that are nearly right, seed {seed}", file=sys.stderr)
        self.assertEqual(self.ask("GET", "/readyz")[0], 200)
        self.assertNotIn("Sanitizer", self.yard.responder.text())

    def test_clients_that_break_off(self):
        """At every byte of a request, and of streams: nothing is kept and nothing breaks."""
        body = b'{"id":"x"}'
        request = (f"POST {ML}GetTrainingJob HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n").encode() + body
        host, port = self.address.split(":")
        before = self._descriptors()
        for size in range(0, len(request) + 1):
            with socket.create_connection((host, int(port)), 10) as line:
                line.sendall(request[:size])
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        stack.wait_until(lambda: self._descriptors() <= before + 5, "the connections are gone", 30)
        self.assertEqual(self.ask("GET", "/readyz")[0], 200)

    def churn(self, requests, seed, until):
        """Comes, takes something, and goes, in one way or another; how often."""
        rng, count = random.Random(seed), 0
        host, port = self.address.split(":")
        while time.monotonic() < until:
            with contextlib.suppress(ConnectionError), socket.create_connection((host, int(port)), 30) as line:
                if rng.random() < 0.5:
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
                if rng.random() < 0.3:
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                line.sendall(rng.choice(requests))
                line.settimeout(0.05)
                for _ in range(rng.choice((0, 1, 3, 10))):
                    with contextlib.suppress(TimeoutError):
                        line.recv(rng.choice((1, 100, 65536)))
                count += 1
        return count

    def test_followers_that_come_and_go(self):
        job, stop = self.start_job("churn", "0.002")
        self.yard.wait_status(job, stack.IN_PROGRESS)
        message = self.yard.messages.log_service.FollowRequest(id=job).SerializeToString()
        web = b"\0" + len(message).to_bytes(4, "big") + message
        listing = json.dumps({"organizationId": stack.ORGANIZATION}).encode()
        get = "GET {} HTTP/1.1\r\nhost: localhost\r\n\r\n"
        post = "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/{}\r\ncontent-length: {}\r\n\r\n"
        requests = [get.format(f"{FOLLOW}?id={job}").encode(), get.format(f"{FOLLOW}?id={job}&untilNow=true").encode() * 3,
                    get.format(WATCH).encode(), post.format(FOLLOW, "grpc-web", len(web)).encode() + web,
                    post.format(ML + "ListTrainingJobs", "json", len(listing)).encode() + listing]
        before = self._descriptors()
        until = time.monotonic() + (30 if os.environ.get("TRAINYARD_LONG") else 2)
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            counts = list(pool.map(lambda seed: self.churn(requests, seed, until), range(20)))
        print(f"{sum(counts)} clients came and went", file=sys.stderr)
        stop.touch()
        self.assertEqual(self.ask("GET", "/readyz")[0], 200)
        stack.wait_until(lambda: self._descriptors() <= before + 5, "the connections are gone", 30)

    # ---- TLS

    def start_another(self, *flags):
        """A responder of its own; its address over HTTP."""
        port_file = self.yard.dir / f"tls{len(flags)}.http"
        process = stack.Process(f"tls-responder{len(flags)}", self.yard.dir, [
            stack.BUILD / "bin/trainyard-responder", "--listen", "127.0.0.1:0", "--redis", self.yard.redis.url, "--kafka-brokers",
            self.yard.broker.address, "--http-listen", "127.0.0.1:0", "--http-port-file", port_file, *flags])
        self.addCleanup(process.kill)
        stack.wait_until(lambda: port_file.exists() or not process.alive(), "it is served")
        self.assertTrue(process.alive(), process.tail())
        return port_file.read_text().strip()

    def ask_tls(self, address, authority, own=None, path="/healthz", highest=None):
        """(status, the certificate's serial number)"""
        context = ssl.create_default_context(cafile=authority.cert)
        context.set_alpn_protocols(["http/1.1"])
        if own:
            context.load_cert_chain(*own)
        if highest:
            context.maximum_version = highest
        line = http.client.HTTPSConnection(address.replace("127.0.0.1", "localhost"), timeout=10, context=context)
        try:
            line.request("GET", path)
            return line.getresponse().status, line.sock.getpeercert()["serialNumber"]
        finally:
            line.close()

    def test_tls(self):
        authority, other = certificates.Authority(self.yard.dir / "tls"), certificates.Authority(self.yard.dir / "tls", "other-authority")
        cert, key = self.yard.dir / "serving.pem", self.yard.dir / "serving.key"
        for source, target in zip(authority.issue("first"), (cert, key)):
            shutil.copy(source, target)
        address = self.start_another("--tls-cert", cert, "--tls-key", key)
        status, first = self.ask_tls(address, authority)
        self.assertEqual(status, 200)
        self.assertEqual(self.ask_tls(address, authority, path=WATCH + "?service=none")[0], 200)
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.ask_tls(address, other)
        with self.assertRaises((ssl.SSLError, OSError)), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.ask_tls(address, authority, highest=ssl.TLSVersion.TLSv1_1)
        # A new pair is served from the next connection on.
        for source, target in zip(authority.issue("second"), (cert, key)):
            aside = target.with_suffix(".new")
            shutil.copy(source, aside)
            aside.rename(target)
        stack.wait_until(lambda: self.ask_tls(address, authority)[1] != first, "the new certificate is shown", 20)
        # Clients that are asked who they are.
        address = self.start_another("--tls-cert", cert, "--tls-key", key, "--tls-client-ca", authority.cert)
        self.assertEqual(self.ask_tls(address, authority, authority.issue("client"))[0], 200)
        self.assertEqual(self.ask_tls(address, authority)[0], 403)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            self.assertEqual(self.ask_tls(address, authority, other.issue("stranger"))[0], 403)

    # ---- the end

    def test_documented_examples(self):
        text = (stack.SOURCE / "docs/http.md").read_text()
        blocks = re.findall(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```$", text, re.M | re.S)
        self.assertGreaterEqual(len(blocks), 5)
        for script, wanted in blocks:
            done = subprocess.run(["sh", "-eu", "-c", script.replace("127.0.0.1:8481", self.address)], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=30)
            pattern = ".*".join(re.escape(part) for part in wanted.rstrip("\n").split("\u2026"))
            self.assertRegex(done.stdout.rstrip("\n"), f"^{pattern}$", script)

    def test_zy_slow_clients_are_closed(self):
        """They have been at it since the beginning, beside all the others."""
        stack.wait_until(lambda: len(self.slow_took) == 3, lambda: f"all are closed, not only {self.slow_took}", 60)
        for name, took in self.slow_took.items():
            # responder/http_server.h: after TY_HTTP_READ_MS, and not after TY_HTTP_STALL_MS
            self.assertTrue(15 < took < 50, (name, took))

    def test_zz_the_end_is_told(self):
        """Last, by its name: the responder stops."""
        watch = Events(self.address, WATCH)
        watch.next()
        began = time.monotonic()
        self.yard.responder.signal(signal.SIGTERM)
        events = list(iter(watch.next, None))
        watch.close()
        self.assertEqual(events[-1][0], "end")
        self.assertEqual(events[-1][2]["error"]["code"], "unavailable")
        self.assertEqual(self.yard.responder.child.wait(30), 0)
        # The grace of 5 s passes where a client keeps a connection of gRPC and does not read that the server is about to go, as one may
        # that has nothing to ask. What must not be waited for is TY_HTTP_READ_MS.
        self.assertLess(time.monotonic() - began, 15)
        self.yard.start_responder("--http-listen", self.address)
        stack.wait_until(lambda: self.ask("GET", "/readyz")[0] == 200, "the same port again")
        self.yard.redis.stop()
        stack.wait_until(lambda: self.ask("GET", "/readyz")[0] == 503, "not ready without its store")
        self.assertEqual(self.ask("GET", "/healthz")[:2], (200, b"ok\n"))
        status, answer = self.call("GetTrainingJob", {"id": "x"})
        self.assertIn((status, answer["code"]), ((503, "unavailable"), (404, "not_found")))


if __name__ == "__main__":
    unittest.main(verbosity=2)
