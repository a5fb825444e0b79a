"""Lines 1 to 9: what is on the wire."""
import http.client
import socket
import ssl
import threading
import time
import urllib.parse

import grpc

import stack
from checklist import raw
from checklist.lines import shows
from foreign import driver

ML = "/viam.app.mltraining.v1.MLTrainingService/"
ALL_SERVICES = ("/proto.rpc.v1.AuthService/Authenticate", "/viam.app.v1.AppService/ListOrganizations", ML + "ListSupportedContainers",
                "/grpc.health.v1.Health/Check")
OFFERED = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"  # by the Python SDK; of it gRPC's server takes the first
PING_S = 10  # a library's clients have at least this between two
PINGS = 4  # gRPC's own servers end a connection at the third that comes too soon
DEAF_S = 10
REPLY_BYTES = 32 << 20
VALUES, VALUE_BYTES = 15, 16000  # the most that a submit may have, nearly
ORIGIN = "https://page.example"
# What the TypeScript SDK's preflight names.
PREFLIGHT = "authorization,content-type,viam_client,x-grpc-web,x-user-agent"


class Wire:
    def raw(self, server=None, **more):
        line = raw.Raw(server or self.open_server, **more)
        self.addCleanup(line.close)
        return line

    # ---- transport

    @shows(1)
    def test_one_port_has_all_services(self):
        line = self.raw()
        for path in ALL_SERVICES:
            answer = line.call(path)
            self.assertEqual(answer.header(":status"), ["200"], path)
            self.assertNotIn(answer.status(), (12, 14), path)  # neither UNIMPLEMENTED nor UNAVAILABLE

    @shows(1)
    def test_tls(self):
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            line = self.raw(self.tls_server, tls=raw.untrusting(version, OFFERED))
            self.assertEqual(line.socket.selected_alpn_protocol(), "h2")
            self.assertEqual(line.call(ML + "ListSupportedContainers").status(), 0)

    @shows(2)
    def test_content_types(self):
        line = self.raw()
        for kind in ("application/grpc", "application/grpc+proto"):
            answer = line.call(ML + "ListSupportedContainers", kind=kind)
            self.assertEqual(answer.status(), 0)
            self.assertEqual(len(answer.header("content-type")), 1)
            self.assertIn(answer.header("content-type")[0], ("application/grpc", "application/grpc+proto"))

    @shows(3)
    def test_metadata_that_is_not_known(self):
        answer = self.raw().call(ML + "ListSupportedContainers", headers=[
            ("viam_client", "typescript;v0.61.1;v0.1.500"), ("trace-id", "x"), ("span-id", "y"), ("trace-options", "1"),
            ("x-user-agent", "connect-es/1.6.1"), ("grpc-accept-encoding", "gzip,br"), ("some-bin", "AAEC")])
        self.assertEqual(answer.status(), 0)
        self.assertIn(answer.header("grpc-encoding"), ([], ["identity"]))
        self.assertEqual(answer.body[0], 0)  # not compressed
        self.assertEqual(len(answer.body), 5 + int.from_bytes(answer.body[1:5], "big"))

    @shows(4)
    def test_connections_that_say_nothing(self):
        host, _, port = self.open_server.rpartition(":")
        quiet = [socket.create_connection((host, int(port)), 5) for _ in range(50)]
        for _ in range(50):
            socket.create_connection((host, int(port)), 5).close()
        self.assertEqual(self.raw().call(ML + "ListSupportedContainers").status(), 0)
        for line in quiet:
            line.close()
        self.assertEqual(self.raw().call(ML + "ListSupportedContainers").status(), 0)

    @shows(4)
    def test_handshakes_that_end_at_once(self):
        """As the Python SDK does before each connection, and ends of every other kind."""
        host, _, port = self.tls_server.rpartition(":")
        for number in range(30):
            line = socket.create_connection((host, int(port)), 5)
            if number % 3 == 0:
                raw.untrusting().wrap_socket(line).close()
            elif number % 3 == 1:
                line.sendall(b"\x16\x03\x01\x02")  # the beginning of a greeting
            line.close()
        self.assertEqual(self.raw(self.tls_server, tls=raw.untrusting()).call(ML + "ListSupportedContainers").status(), 0)

    @classmethod
    def start_pings(cls):
        """On a connection without calls, beside all other checks."""
        cls.pings = []

        def ping():
            try:
                line = raw.Raw(cls.open_server)
                for number in range(PINGS):
                    if number:
                        time.sleep(PING_S)  # what is checked is just this wait
                    line.ping()
                    cls.pings.append(None)
                cls.pings.append(line.call(ML + "ListSupportedContainers").status())
                line.close()
            except Exception as error:  # told by the check
                cls.pings.append(error)
        cls.pinger = threading.Thread(target=ping, daemon=True)
        cls.pinger.start()

    @shows(5)
    def test_z_pings_without_calls(self):
        self.pinger.join((PINGS + 1) * PING_S)
        self.assertEqual(self.pings, [None] * PINGS + [0])

    @shows(6)
    def test_stores_that_never_answer(self):
        deaf = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.addCleanup(deaf.close)
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        redis_server = self.yard.another_responder("deaf-redis", redis=f"redis://{address}")
        kafka_server = self.yard.another_responder("deaf-kafka", kafka=address)
        submit = self.submit_request("train", "deaf")
        for server, method, body in ((redis_server, "GetTrainingJob", {"id": stack.ORGANIZATION}),
                                     (redis_server, "SubmitCustomTrainingJob", submit),
                                     (kafka_server, "SubmitCustomTrainingJob", submit)):
            with self.subTest(method, server=server):
                client, began = driver.Grpcio(), time.monotonic()
                client.open(server)
                with self.assertRaises(driver.Refused) as caught:
                    client.training(method, body)
                self.note(caught.exception)
                self.assertIn(caught.exception.code, ("UNAVAILABLE", "DEADLINE_EXCEEDED"))
                self.assertLess(time.monotonic() - began, DEAF_S)

    @shows(7)
    def test_large_lists(self):
        large = {f"a{number}": "x" * VALUE_BYTES for number in range(VALUES)}
        request = {**self.job("train", "large", arguments=large), "organization": self.LARGE}
        for _ in range(2 + REPLY_BYTES // (VALUES * VALUE_BYTES)):
            last = self.open.submit(**request)
        with grpc.insecure_channel(self.open_server, [("grpc.max_receive_message_length", -1)]) as channel:
            reply = channel.unary_unary(ML + "ListTrainingJobs", response_deserializer=bytes)(
                self.messages.ListTrainingJobsRequest(organization_id=self.LARGE).SerializeToString(), timeout=raw.DEADLINE_S)
        self.assertLess(len(reply), REPLY_BYTES)
        self.assertEqual(self.messages.ListTrainingJobsResponse.FromString(reply).jobs[0].id, last)

    @shows(8)
    def test_z_texts_of_errors(self):
        """Those of all checks: the client is a Python that has decoded them already."""
        self.assertGreater(len(self.errors), 20)
        for error in self.errors:
            self.assertTrue(error.message, error)
            self.assertNotIn("%", error.message)
            error.message.encode()  # no lone surrogates

    @shows(8)
    def test_texts_are_percent_encoded(self):
        answer = self.raw().call(ML + "SubmitCustomTrainingJob", self.yard.custom_request("schön", "ü%", container="100% ü").SerializeToString())
        self.assertEqual(answer.status(), 3)
        text = answer.header("grpc-message")[0]
        self.assertRegex(text, r"^[ -~]+$")
        self.assertNotIn("%", urllib.parse.unquote(text, errors="strict"))

    # ---- gRPC-Web

    def http(self, method, path, body=None, headers=()):
        line = http.client.HTTPConnection(urllib.parse.urlsplit(self.yard.url).netloc, timeout=raw.DEADLINE_S)
        self.addCleanup(line.close)
        line.request(method, path, body, {"origin": ORIGIN, **dict(headers)})
        return line.getresponse()

    def web(self, method, body=b"", **headers):
        answer = self.http("POST", ML + method, raw.message(body), {
            "content-type": "application/grpc-web+proto", "x-grpc-web": "1", "x-user-agent": "connect-es/1.6.1", **headers})
        self.assertEqual(answer.status, 200)
        self.assertIn(answer.getheader("access-control-allow-origin"), (ORIGIN, "*"))
        exposed = {name.strip().lower() for name in answer.getheader("access-control-expose-headers").split(",")}
        self.assertLessEqual({"grpc-status", "grpc-message", "grpc-status-details-bin"}, exposed)
        data, frames = answer.read(), []
        while data:
            length = int.from_bytes(data[1:5], "big")
            frames.append((data[0], data[5:5 + length]))
            data = data[5 + length:]
        return answer, frames

    @shows(9)
    def test_grpc_web(self):
        token = {"authorization": f"Bearer {self.token}"}
        _, frames = self.web("ListSupportedContainers", **token)
        self.assertEqual([flag for flag, _ in frames], [0, 0x80])
        self.assertIn("grpc-status: 0\r\n", frames[1][1].decode())
        id = self.submit("sleeper", "web-canceled")
        _, frames = self.web("CancelTrainingJob", self.messages.CancelTrainingJobRequest(id=id).SerializeToString(), **token)
        self.assertEqual(frames[0], (0, b""))  # an empty message has its frame, too
        answer, frames = self.web("GetTrainingJob", self.messages.GetTrainingJobRequest(id=stack.ORGANIZATION).SerializeToString(), **token)
        told = frames[-1][1].decode() if frames else "".join(f"{name.lower()}: {value}\r\n" for name, value in answer.getheaders())
        self.assertIn("grpc-status: 5\r\n", told)

    @shows(9)
    def test_preflight(self):
        answer = self.http("OPTIONS", ML + "GetTrainingJob", headers={
            "access-control-request-method": "POST", "access-control-request-headers": PREFLIGHT})
        answer.read()
        self.assertEqual(answer.status // 100, 2)
        self.assertIn(answer.getheader("access-control-allow-origin"), (ORIGIN, "*"))
        self.assertIn("POST", answer.getheader("access-control-allow-methods"))
        allowed = {name.strip().lower() for name in answer.getheader("access-control-allow-headers").split(",")}
        self.assertLessEqual(set(PREFLIGHT.split(",")), allowed)
