"""One HTTP/2 connection, frame by frame: what a gRPC library would hide. Plaintext with prior knowledge, or TLS with ALPN."""
import socket
import ssl
import struct
import time

import h2.config
import h2.connection
import h2.events

DEADLINE_S = 20


def message(body=b""):
    return struct.pack(">BI", 0, len(body)) + body


class Answer:
    def __init__(self):
        self.headers, self.trailers, self.body = [], [], b""

    def header(self, name):
        return [value for key, value in self.headers + self.trailers if key == name]

    def status(self):
        return int(self.header("grpc-status")[0])


class Raw:
    def __init__(self, server, tls=None):
        host, _, port = server.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), DEADLINE_S)
        self.scheme = "http"
        if tls:
            tls.set_alpn_protocols(["h2"])
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
            self.scheme = "https"
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8", validate_inbound_headers=False))
        self.http.initiate_connection()
        self.answers, self.ended, self.pongs, self.closed = {}, set(), 0, False
        self.flush()

    def flush(self):
        self.socket.sendall(self.http.data_to_send())

    def pump(self):
        data = self.socket.recv(65536)
        if not data:
            self.closed = True
        for event in self.http.receive_data(data) if data else []:
            self.on_event(event)
        self.flush()

    def on_event(self, event):
        stream = getattr(event, "stream_id", 0)
        if isinstance(event, h2.events.ResponseReceived):
            self.answers[stream].headers += event.headers
        elif isinstance(event, h2.events.TrailersReceived):
            self.answers[stream].trailers += event.headers
        elif isinstance(event, h2.events.DataReceived):
            self.answers[stream].body += event.data
            self.http.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            self.ended.add(stream)
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.closed = True

    def until(self, check):
        deadline = time.monotonic() + DEADLINE_S
        while not check() and not self.closed:
            assert time.monotonic() < deadline, "no answer"
            self.pump()
        assert check(), "the server has ended the connection"

    def call(self, path, body=b"", headers=(), kind="application/grpc"):
        """One unary call; `headers` are more of them, in order, as often as wanted."""
        stream = self.http.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.http.send_headers(stream, [(":method", "POST"), (":scheme", self.scheme), (":authority", "localhost"), (":path", path),
                                        ("te", "trailers"), ("content-type", kind), *headers])
        self.http.send_data(stream, message(body), end_stream=True)
        self.flush()
        self.until(lambda: stream in self.ended)
        return self.answers[stream]

    def ping(self):
        expected = self.pongs + 1
        self.http.ping(b"12345678")
        self.flush()
        self.until(lambda: self.pongs >= expected)

    def close(self):
        self.socket.close()


def untrusting(version=ssl.TLSVersion.TLSv1_3, ciphers=None):
    """TLS that trusts anybody, of one version."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.minimum_version = tls.maximum_version = version
    if ciphers:
        tls.set_ciphers(ciphers)
    return tls
