"""Keys as operators make them, from the command line over Kafka and the store to the responder, and what is left of one that
was revoked."""
import http.client
import json
import pathlib
import subprocess
import unittest
import uuid

import stack

KINDS = stack.broker_kinds()
ORG = stack.ORGANIZATION
NOT_FOUND, REFUSED = 4, 7  # exit codes


class Access(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.secrets = cls.yard.dir / "token-secrets"
        cls.secrets.touch(0o600)
        cls.secrets.write_text("a-secret-of-this-test-that-is-long-enough\n")
        cls.yard.start_worker("worker-1", "--role", "intake")
        cls.start_responder()

    @classmethod
    def start_responder(cls):
        cls.yard.start_responder("--auth", "keys", "--token-secret-file", cls.secrets, "--failed-logins", "0", "--http-listen",
                                 "127.0.0.1:0", "--http-port-file", cls.yard.dir / "http.port")

    def create(self, organization, role, *flags):
        return json.loads(self.yard.cli("keys", "create", "--json", "--org", organization, "--role", role, *flags).stdout)

    def call(self, key, *words):
        """The exit code of a verb with this key."""
        env = {"TRAINYARD_API_KEY_ID": key["id"], "TRAINYARD_API_KEY": key["secret"]} if key else {}
        return self.yard.cli(*words, check=False, env=env).returncode

    def wait_good(self, key):
        stack.wait_until(lambda: self.call(key, "list", "--org", key["organization"]) == 0, lambda: f"{key['id']} is good", 20)

    def wait_refused(self, key):
        stack.wait_until(lambda: self.call(key, "list", "--org", key["organization"]) == REFUSED, lambda: f"{key['id']} is refused", 20)

    def test_a_key_from_its_making_to_its_end(self):
        key, other = self.create(ORG, "submit", "--comment", "nightly"), self.create(str(uuid.uuid4()), "owner")
        self.wait_good(key)
        self.wait_good(other)
        self.assertEqual(self.call(None, "list", "--org", ORG), REFUSED)
        self.assertEqual(self.call({**key, "secret": key["secret"][:-1]}, "list", "--org", ORG), REFUSED)
        self.yard.script("quick", "true")
        job = self.yard.cli("submit-custom", "--org", ORG, "--dataset", "empty-set", "--container", "shell:1", "--script", "test:quick",
                            "--model-name", "m").stdout.strip()
        stack.wait_until(lambda: self.call(key, "get", job) == 0, "the job is seen")
        self.assertEqual(self.call(other, "get", job), NOT_FOUND)
        self.assertEqual(self.call(other, "logs", job), NOT_FOUND)
        self.assertEqual(self.call(other, "list", "--org", ORG), REFUSED)
        listed = {one["id"]: one for one in json.loads(self.yard.cli("keys", "list", "--json").stdout)["keys"]}
        self.assertEqual((listed[key["id"]]["role"], listed[key["id"]]["comment"], listed[key["id"]]["revoked"]), ("submit", "nightly", None))
        self.assertNotIn(key["secret"], json.dumps(listed))
        for file in (self.yard.redis.dir / "appendonlydir").iterdir():
            self.assertNotIn(key["secret"].encode(), file.read_bytes())
        self.assertEqual(self.yard.cli("keys", "revoke", str(uuid.uuid4()), check=False).returncode, NOT_FOUND)
        self.yard.cli("keys", "revoke", key["id"])
        self.wait_refused(key)
        self.assertEqual(self.call(other, "list", "--org", other["organization"]), 0)
        self.assertNotIn(key["id"], self.yard.cli("keys", "list").stdout)
        self.assertIn(key["id"], self.yard.cli("keys", "list", "--all").stdout)
        self.yard.cli("keys", "revoke", key["id"])  # once more does no harm

    def post(self, path, message, *tokens):
        """The status and the answer of JSON over HTTP, with an authorization header for each of the tokens."""
        line = http.client.HTTPConnection((self.yard.dir / "http.port").read_text().strip(), timeout=30)
        body = json.dumps(message).encode()
        line.putrequest("POST", path)
        for name, value in (("content-type", "application/json"), ("content-length", str(len(body))),
                            *(("Authorization", token) for token in tokens)):
            line.putheader(name, value)
        line.endheaders(body)
        answer = line.getresponse()
        status, text = answer.status, answer.read()
        line.close()
        return status, json.loads(text)

    def log_in(self, key):
        status, answer = self.post("/proto.rpc.v1.AuthService/Authenticate",
                                   {"entity": key["id"], "credentials": {"type": "api-key", "payload": key["secret"]}})
        self.assertEqual(status, 200, answer)
        return "Bearer " + (answer.get("accessToken") or answer["access_token"])

    def test_http_asks_the_same(self):
        service = "/viam.app.mltraining.v1.MLTrainingService/"
        key, other = self.create(ORG, "submit"), self.create(str(uuid.uuid4()), "owner")
        self.wait_good(key)
        self.wait_good(other)
        mine, theirs = self.log_in(key), self.log_in(other)
        job = self.yard.cli("submit-custom", "--org", ORG, "--dataset", "empty-set", "--container", "shell:1", "--script", "test:none",
                            "--model-name", "m").stdout.strip()
        stack.wait_until(lambda: self.call(key, "get", job) == 0, "the job is seen")
        listing = {"organizationId": ORG}
        for path, message, tokens, wanted in (
                ("ListTrainingJobs", listing, [mine], 200), ("ListTrainingJobs", listing, [], 401),
                ("ListTrainingJobs", listing, [mine, mine], 401), ("ListTrainingJobs", listing, [mine.lower()], 401),
                ("ListTrainingJobs", listing, [theirs], 403), ("GetTrainingJob", {"id": job}, [mine], 200),
                ("GetTrainingJob", {"id": job}, [theirs], 404), ("GetTrainingJob", {"id": job}, [], 401),
                ("GetTrainingJobLogs", {"id": job}, [theirs], 404), ("CancelTrainingJob", {"id": job}, [theirs], 404),
                ("DeleteCompletedTrainingJob", {"id": job}, [mine], 403), ("CancelTrainingJob", {"id": job}, [mine], 200)):
            with self.subTest(path=path, tokens=len(tokens), wanted=wanted):
                status, answer = self.post(service + path, message, *tokens)
                self.assertEqual(status, wanted, answer)
        # A followed log: what is wrong is told in its one event.
        line = http.client.HTTPConnection((self.yard.dir / "http.port").read_text().strip(), timeout=30)
        for token, wanted in ((None, "unauthenticated"), (theirs, "not_found")):
            line.request("POST", "/trainyard.v1.LogService/Follow", json.dumps({"id": job}),
                         {"content-type": "application/json", **({"authorization": token} if token else {})})
            self.assertIn(wanted, line.getresponse().read().decode())
        line.close()

    def test_a_revocation_outlives_the_store_and_needs_no_worker(self):
        """Two are revoked, one while no worker is there to put it into the store, and then the store goes back to before both: neither the
        responder that knew of it nor one that starts then takes either key."""
        keys = [self.create(ORG, "owner"), self.create(ORG, "owner")]
        for key in keys:
            self.wait_good(key)
        before = self.yard.redis.snapshot()
        self.yard.cli("keys", "revoke", keys[0]["id"])
        self.wait_refused(keys[0])
        self.yard.workers["worker-1"].stop()
        self.yard.cli("keys", "revoke", keys[1]["id"])
        self.wait_refused(keys[1])
        self.yard.redis.restore(before)
        for key in keys:
            self.assertNotEqual(self.call(key, "list", "--org", ORG), 0)
        self.yard.responder.stop()
        self.start_responder()
        new = self.create(ORG, "read")

        def new_is_good():
            good = self.call(new, "list", "--org", ORG) == 0
            for key in keys:
                self.assertNotEqual(self.call(key, "list", "--org", ORG), 0)
            return good
        stack.wait_until(new_is_good, "a new key is good", 30)
        self.yard.start_worker("worker-1", "--role", "intake")
        for key in keys:
            self.wait_refused(key)

    def test_secrets_go_to_a_file(self):
        out = self.yard.dir / "signing.pem"
        key = self.create(ORG, "submit", "--signing", "--out", out)
        self.assertEqual((key["kind"], key["secret"], key["file"]), ("signing", None, str(out)))
        self.assertEqual(out.stat().st_mode & 0o777, 0o600)
        shown = subprocess.run(["openssl", "pkey", "-in", out, "-noout", "-text"], check=True, capture_output=True, text=True).stdout
        self.assertIn("ED25519", shown.upper())
        kept = out.read_bytes()
        again = self.yard.cli("keys", "create", "--org", ORG, "--out", out, check=False)
        self.assertEqual((again.returncode, out.read_bytes()), (2, kept))
        nowhere = pathlib.Path(self.yard.dir / "api.key")
        done = self.yard.cli("keys", "create", "--org", ORG, "--out", nowhere, "--kafka-brokers", "127.0.0.1:1", check=False)
        self.assertEqual((done.returncode, nowhere.exists()), (3, False))  # what Kafka has not is no key


if __name__ == "__main__":
    unittest.main(verbosity=2)
