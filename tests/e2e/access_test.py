"""Keys as operators make them, from the command line over Kafka and the store to the responder, and what is left of one that
was revoked."""
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
        cls.yard.start_responder("--auth", "keys", "--token-secret-file", cls.secrets, "--failed-logins", "0")

    def create(self, organization, role, *flags):
        return json.loads(self.yard.cli("keys", "create", "--json", "--org", organization, "--role", role, *flags).stdout)

    def call(self, key, *words):
        """The exit code of a verb with this key."""
        env = {"TRAINYARD_API_KEY_ID": key["id"], "TRAINYARD_API_KEY": key["secret"]} if key else {}
        return self.yard.cli(*words, check=False, env=env).returncode

    def wait_good(self, key):
        stack.wait_until(lambda: self.call(key, "list", "--org", key["organization"]) == 0, lambda: f"{key['id']} is good", 20)

    def wait_refused(self, key):
        stack.wait_until(lambda: self.call(key, "list", "--org", key["organization"]) == REFUSED, lambda: f"{key['id']} is refused", 5)

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

    def test_a_revocation_outlives_the_store(self):
        """Redis goes back to before it: neither the responder that knew of it nor one that starts then takes the key."""
        key = self.create(ORG, "owner")
        self.wait_good(key)
        before = self.yard.redis.snapshot()
        self.yard.cli("keys", "revoke", key["id"])
        self.wait_refused(key)
        self.yard.redis.restore(before)
        self.assertNotEqual(self.call(key, "list", "--org", ORG), 0)
        self.yard.responder.stop()
        self.start_responder()
        last = self.create(ORG, "read")

        def last_is_good():
            good = self.call(last, "list", "--org", ORG) == 0
            self.assertNotEqual(self.call(key, "list", "--org", ORG), 0)
            return good
        stack.wait_until(last_is_good, "a new key is good", 30)
        self.wait_refused(key)

    def test_no_worker_is_needed(self):
        """Keys and revocations are in force while nobody puts them into the store; also where that went back, for who starts then."""
        key = self.create(ORG, "owner")
        self.wait_good(key)
        before = self.yard.redis.snapshot()
        self.yard.workers["worker-1"].stop()
        self.yard.cli("keys", "revoke", key["id"])
        self.wait_refused(key)
        self.yard.redis.restore(before)
        self.yard.responder.stop()
        self.start_responder()
        new = self.create(ORG, "read")

        def new_is_good():
            good = self.call(new, "list", "--org", ORG) == 0
            self.assertNotEqual(self.call(key, "list", "--org", ORG), 0)
            return good
        stack.wait_until(new_is_good, "a new key is good", 30)
        self.wait_refused(key)
        self.yard.start_worker("worker-1", "--role", "intake")

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
