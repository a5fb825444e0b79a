"""TLS on the responder's port: real handshakes by openssl, Python's ssl, grpcio and our own command line."""
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import time
import unittest

import certificates
import stack

KINDS = stack.broker_kinds()
# responder/grpc_server.h: TY_GRPC_HANDSHAKE_MS
HANDSHAKE_S = 10
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def ends(line, seconds):
    """Reads until the server has ended the connection; what it had said before."""
    line.settimeout(seconds)
    said = b""
    try:
        while True:
            got = line.recv(4096)
            if not got:
                return said
            said += got
    except (ConnectionError, ssl.SSLError):
        return said


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.authority = certificates.Authority(cls.yard.dir / "tls")
        cls.other = certificates.Authority(cls.yard.dir / "tls", "other-authority")
        cls.first = cls.authority.issue("first")
        cls.second = cls.authority.issue("second")
        cls.cert, cls.key = cls.yard.dir / "serving.pem", cls.yard.dir / "serving.key"
        cls.put(cls.first)
        cls.responder, cls.address = cls.start("tls-responder", "--tls-cert", cls.cert, "--tls-key", cls.key)
        cls.host, cls.port = cls.address.split(":")[0], int(cls.address.split(":")[1])

    @classmethod
    def command(cls, *flags):
        return [stack.BUILD / "bin/trainyard-responder", "--redis", cls.yard.redis.url, "--kafka-brokers",
                cls.yard.broker.address, *flags]

    @classmethod
    def start(cls, name, *flags):
        port_file = cls.yard.dir / f"{name}.port"
        process = stack.Process(name, cls.yard.dir, cls.command("--listen", "127.0.0.1:0", "--port-file", port_file, *flags))
        cls.addClassCleanup(process.kill)
        stack.wait_until(lambda: port_file.exists() or not process.alive(), "the responder listens")
        assert process.alive(), process.tail()
        return process, port_file.read_text().strip()

    @classmethod
    def put(cls, pair):
        """Replaces the files that are served, each in one step, the certificate first."""
        for source, target in zip(pair, (cls.cert, cls.key)):
            aside = target.with_suffix(".new")
            shutil.copy(source, aside)
            aside.rename(target)

    def refused(self, *flags):
        """What the program says when it does not start: (exit status, text)."""
        done = subprocess.run([str(word) for word in self.command(*flags)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=30)
        return done.returncode, done.stderr

    def channel(self, address=None, authority=None, own=None):
        import grpc
        key, cert = (own[1].read_bytes(), own[0].read_bytes()) if own else (None, None)
        credentials = grpc.ssl_channel_credentials((authority or self.authority).cert.read_bytes(), key, cert)
        channel = grpc.secure_channel(address or self.address, credentials, [("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def containers(self, channel):
        stub = self.yard.messages.ml_grpc.MLTrainingServiceStub(channel)
        return stub.ListSupportedContainers(self.yard.messages.ml.ListSupportedContainersRequest(), timeout=10).container_map

    def cannot_connect(self, channel):
        import grpc
        with self.assertRaises(grpc.RpcError) as caught:
            self.containers(channel)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def context(self, *protocols):
        context = ssl.create_default_context(cafile=str(self.authority.cert))
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def shake(self, *protocols):
        return self.context(*protocols).wrap_socket(socket.create_connection((self.host, self.port), 10),
                                                    server_hostname="localhost")

    def subject(self):
        with self.shake("h2") as line:
            return dict(part[0] for part in line.getpeercert()["subject"])["commonName"]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.responder.child.pid}/fd"))

    def s_client(self, *words):
        return certificates.openssl("s_client", "-connect", self.address, "-CAfile", self.authority.cert,
                                    "-verify_return_error", "-servername", "localhost", *words).stdout

    # ---- who gets through

    def test_grpc_checks_the_certificate(self):
        self.assertTrue(self.containers(self.channel(f"localhost:{self.port}")))
        self.assertTrue(self.containers(self.channel()))
        self.cannot_connect(self.channel(authority=self.other))

    def test_openssl_agrees_on_h2_by_tls_1_2_and_1_3_and_on_nothing_older(self):
        for version, name in (("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")):
            said = self.s_client("-alpn", "h2", version)
            self.assertIn("ALPN protocol: h2", said)
            self.assertIn(name, said)
            self.assertIn("Verify return code: 0 (ok)", said)
        suites = self.s_client("-alpn", "h2", "-tls1_2")
        self.assertRegex(suites, r"Cipher is ECDHE-ECDSA-(AES\d+-GCM|CHACHA20)")
        for version in ("-tls1_1", "-tls1"):
            said = self.s_client("-alpn", "h2", version, "-cipher", "ALL:@SECLEVEL=0")
            self.assertRegex(said, r"written [1-9]\d* bytes") # it has asked
            self.assertIn("no peer certificate available", said)
            self.assertIn("Cipher is (NONE)", said)

    def test_a_client_that_does_not_offer_h2_is_refused(self):
        for protocols in ((), ("http/1.1",)):
            try:
                line = self.shake(*protocols)
            except (ssl.SSLError, ConnectionError):
                continue
            with line:
                line.sendall(PREFACE)
                self.assertEqual(ends(line, 10), b"", f"{protocols}: HTTP/2 is spoken without being agreed on")
        with self.shake("h2") as line: # the same bytes with it
            line.sendall(PREFACE)
            self.assertEqual(line.recv(9)[3:4], b"\4")

    def test_plaintext_to_the_tls_port_is_refused_and_harms_nothing(self):
        import grpc
        channel = grpc.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        self.cannot_connect(channel)
        self.assertTrue(self.containers(self.channel()))

    # ---- the command line

    def test_the_command_line(self):
        for words in (("--server", f"https://{self.address}", "--tls-ca", self.authority.cert),
                      ("--server", f"https://localhost:{self.port}/", "--tls-ca", self.authority.cert),
                      ("--server", self.address, "--tls", "--tls-ca", self.authority.cert)):
            # Debian's c-ares leaks ten bytes of a name that it looks up, which a run under ASan would blame on us.
            self.assertIn("python:3", self.yard.cli("containers", *words, env={"GRPC_DNS_RESOLVER": "native"}).stdout)
        for words, status, text in (
                (("--server", f"https://{self.address}", "--tls-ca", self.other.cert), 3, "responder"),
                (("--server", f"https://{self.address}"), 3, "responder"), # the system's authorities
                (("--server", self.address), 3, "responder"),
                (("--server", f"http://{self.address}", "--tls"), 2, "plaintext"),
                (("--server", f"https://{self.address}", "--tls-ca", "/nowhere"), 4, "--tls-ca: /nowhere"),
                (("--server", f"https://{self.address}", "--tls-ca", __file__), 2, "PEM"),
                (("--server", f"https://{self.address}", "--tls-cert", self.first[0]), 2, "--tls-key"),
                (("--server", "https://", ), 2, "--server")):
            done = self.yard.cli("containers", "--timeout-ms", "3000", *words, check=False)
            self.assertEqual(done.returncode, status, f"{words}: {done.stderr}")
            self.assertIn(text, done.stderr)

    # ---- certificates that change

    def test_files_that_change_are_read_again(self):
        self.addCleanup(self.put, self.first)
        open_one = self.channel()
        self.assertTrue(self.containers(open_one))
        self.assertEqual(self.subject(), "first")
        self.put(self.second)
        stack.wait_until(lambda: self.subject() == "second", "the new certificate is shown")
        self.assertTrue(self.containers(open_one), "a connection from before goes on")
        # A key that belongs to another certificate: the good pair stays.
        shutil.copy(self.first[1], self.key)
        said = lambda: self.responder.log.read_text().count("tls.kept")
        stack.wait_until(lambda: said(), "the log says that the pair cannot be used")
        self.assertIn("does not belong to the first certificate", self.responder.log.read_text())
        self.assertEqual(self.subject(), "second")
        before = said()
        self.responder.signal(1) # SIGHUP reads without waiting for a change
        stack.wait_until(lambda: said() > before, "SIGHUP reads again")
        self.put(self.first)
        stack.wait_until(lambda: self.subject() == "first", "what is whole again is shown")

    # ---- connections that are none

    def test_connections_that_close_at_once(self):
        self.assertTrue(self.containers(self.channel()))
        before = self.descriptors()
        for _ in range(100):
            socket.create_connection((self.host, self.port), 10).close()
            self.shake("h2").close()
        self.assertTrue(self.containers(self.channel()))
        stack.wait_until(lambda: self.descriptors() <= before + 3, lambda: f"{self.descriptors()} descriptors become {before}")

    def test_connections_that_never_speak_are_closed(self):
        hello = ssl.MemoryBIO()
        try:
            ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
        except ssl.SSLWantReadError:
            pass
        hello = hello.read()
        before = self.descriptors()
        lines = [socket.create_connection((self.host, self.port), 10) for _ in range(60)]
        begun = time.monotonic()
        for line in lines[20:40]:
            line.sendall(hello[:len(hello) // 2])
        for line in lines[40:]: # an answer comes to these, and then nothing more from us
            line.sendall(hello)
        shaken = [self.shake("h2") for _ in range(20)]
        for line in shaken[10:]:
            line.sendall(PREFACE[:10])
        self.assertTrue(self.containers(self.channel()), "others are served meanwhile")
        for line in lines + shaken:
            ends(line, HANDSHAKE_S + 20)
            line.close()
        took = time.monotonic() - begun
        self.assertLess(took, HANDSHAKE_S + 20)  # gRPC's own limit is two minutes
        print(f"80 silent connections, closed by the server within {took:.1f} s")
        stack.wait_until(lambda: self.descriptors() <= before + 3, lambda: f"{self.descriptors()} descriptors become {before}")

    # ---- clients with certificates

    def test_a_client_authority_lets_only_its_own_in(self):
        _, address = self.start("asking-responder", "--tls-cert", self.cert, "--tls-key", self.key, "--tls-client-ca",
                                self.authority.cert)
        own = self.authority.issue("client")
        self.assertTrue(self.containers(self.channel(address, own=own)))
        self.cannot_connect(self.channel(address))
        self.cannot_connect(self.channel(address, own=self.other.issue("stranger")))
        words = ("containers", "--server", f"https://{address}", "--tls-ca", self.authority.cert)
        self.yard.cli(*words, "--tls-cert", own[0], "--tls-key", own[1])
        self.assertEqual(self.yard.cli(*words, "--timeout-ms", "3000", check=False).returncode, 3)

    # ---- what is said of wrong settings

    def test_wrong_files_are_named(self):
        place = self.yard.dir / "wrong"
        place.mkdir()
        damaged, locked, garbage = place / "damaged.pem", place / "locked.key", place / "garbage"
        damaged.write_text(self.first[0].read_text().replace("M", "N"))
        garbage.write_bytes(os.urandom(3000))
        certificates.openssl("pkey", "-in", self.first[1], "-aes128", "-passout", "pass:x", "-out", locked)
        cert, key = self.first
        for flags, status, text in (
                (("--tls-cert", cert), 2, "--tls-cert is set, --tls-key is not"),
                (("--tls-key", key), 2, "--tls-key is set, --tls-cert is not"),
                (("--tls-client-ca", cert), 2, "there is no TLS"),
                (("--tls-cert", place / "none", "--tls-key", key), 4, f"--tls-cert: {place}/none: there is no such file"),
                (("--tls-cert", cert, "--tls-key", place / "none"), 4, f"--tls-key: {place}/none: there is no such file"),
                (("--tls-cert", place, "--tls-key", key), 2, "no regular file"),
                (("--tls-cert", cert, "--tls-key", self.second[1]), 2, "does not belong to the first certificate"),
                (("--tls-cert", key, "--tls-key", key), 2, f"--tls-cert: {key}: there is no certificate"),
                (("--tls-cert", damaged, "--tls-key", key), 2, "damaged"),
                (("--tls-cert", garbage, "--tls-key", key), 2, f"{garbage}: there is no certificate"),
                (("--tls-cert", cert, "--tls-key", cert), 2, f"--tls-key: {cert}: there is no private key"),
                (("--tls-cert", cert, "--tls-key", locked), 2, "passphrase"),
                (("--tls-cert", cert, "--tls-key", key, "--tls-client-ca", key), 2, f"--tls-client-ca: {key}")):
            code, said = self.refused("--listen", "127.0.0.1:0", *flags)
            self.assertEqual(code, status, said)
            self.assertIn(text, said)
            self.assertNotIn("PRIVATE KEY", said)

    def test_other_addresses_need_both_or_insecure(self):
        whole = ("--tls-cert", *self.first[:1], "--tls-key", *self.first[1:])
        for flags, text in (((), "neither TLS"), (whole, "nobody is asked who they are")):
            code, said = self.refused("--listen", "0.0.0.0:0", *flags)
            self.assertEqual(code, 2, said)
            self.assertIn(text, said)
            self.assertIn("--insecure", said)


if __name__ == "__main__":
    unittest.main()
