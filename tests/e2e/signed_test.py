"""Commands that must be signed: by the command line, by the example in Python, by the responder; and what becomes of those that are
not, or are signed by a key that may not."""
import json
import pathlib
import subprocess
import sys
import time
import unittest
import uuid

import stack

KINDS = stack.broker_kinds()
RIVAL = "0b6a8a53-4f1f-4a7a-9c55-6f0b6b7a2e22"


class Signed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.yard.script("quick", 'echo model > "$OUTPUT/model"')
        cls.yard.script("slow", 'while true; do sleep 0.1; done')
        cls.all = cls.key("all", "*", "owner")
        cls.owner = cls.key("owner", stack.ORGANIZATION, "owner")
        cls.submitter = cls.key("submitter", stack.ORGANIZATION, "submit")
        cls.reader = cls.key("reader", stack.ORGANIZATION, "read")
        cls.rival = cls.key("rival", RIVAL, "owner")
        cls.yard.start_responder("--signing-key-file", cls.all)
        cls.worker = cls.yard.start_worker("worker-1", "--require-signatures", "--slots", "2", "--grace-ms", "500")

    @classmethod
    def key(cls, name, organization, role):
        place = cls.yard.dir / f"{name}.key"
        made = json.loads(cls.yard.cli("keys", "create", "--json", "--org", organization, "--role", role, "--signing", "--out", place).stdout)
        setattr(cls, f"{name}_id", made["id"])
        return place

    def cli(self, key, *words, **more):
        return self.yard.cli(*words, *(("--signing-key-file", key) if key else ()), **more)

    def submit(self, key, organization=stack.ORGANIZATION, script="quick"):
        return self.cli(key, "submit-custom", "--org", organization, "--dataset", "empty-set", "--container", "shell:1", "--script",
                        f"test:{script}", "--model-name", f"m-{uuid.uuid4()}").stdout.strip()

    def letter(self, job_id, reason, count=1):
        """Waits for the job's dead letters; the latest has the reason."""
        found = []

        def check():
            letters = json.loads(self.yard.cli("dead-letters", "list", "--json").stdout)["letters"]
            found[:] = [letter for letter in letters if json.dumps(letter).find(job_id) >= 0]
            return len(found) >= count
        stack.wait_until(check, lambda: f"{count} dead letters of {job_id}: {found}")
        self.assertIn(reason, found[-1]["reason"])

    def completes(self, job_id):
        self.assertEqual(self.yard.wait_end(job_id).status, stack.COMPLETED)

    def test_1_signed_commands_are_taken(self):
        self.completes(self.submit(self.owner))
        self.completes(self.submit(self.submitter))
        by_rpc = self.yard.api.SubmitCustomTrainingJob(self.yard.custom_request("quick", f"m-{uuid.uuid4()}"), timeout=10).id
        self.completes(by_rpc)
        running = self.submit(self.owner, script="slow")
        self.yard.wait_status(running, stack.IN_PROGRESS)
        self.cli(self.submitter, "cancel", running)
        self.assertEqual(self.yard.wait_end(running).status, stack.CANCELED)
        self.cli(self.owner, "delete", running)
        stack.wait_until(lambda: self.yard.get(running) is None, "it is gone")

    def test_2_the_example_signs(self):
        words = [sys.executable, stack.SOURCE / "schemas/examples/submit.py", "--brokers", self.yard.broker.address, "--signing-key", self.owner,
                 "submit-custom", "--organization", stack.ORGANIZATION, "--dataset", "empty-set", "--model", f"m-{uuid.uuid4()}", "--script",
                 "test:quick", "--container", "shell:1"]
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.completes(done.stdout.strip())

    def test_3_commands_that_nobody_has_signed(self):
        job_id = self.submit(None)
        self.letter(job_id, "signature: there is none")
        self.assertIsNone(self.yard.get(job_id), "not even a FAILED job")
        # Of one that is no good besides, too: it would be a way to make jobs under any id.
        broken = str(uuid.uuid4())
        self.yard.publish("submit", broken, b"\xff\xff").get(30)
        self.letter(broken, "signature: there is none")
        self.assertIsNone(self.yard.get(broken))

    def test_4_keys_that_may_not(self):
        for key, reason in ((self.reader, "the key's role is read"), (self.rival, "another organization")):
            job_id = self.submit(key)
            self.letter(job_id, reason)
            self.assertIsNone(self.yard.get(job_id))
        ended = self.submit(self.owner)
        self.completes(ended)
        self.cli(self.submitter, "delete", ended)
        self.letter(ended, "this command needs owner")
        self.cli(self.rival, "delete", ended)
        self.letter(ended, "another organization", 2)
        self.assertIsNotNone(self.yard.get(ended))

    def test_5_another_organizations_cancel_in_either_order(self):
        running = self.submit(self.owner, script="slow")
        self.yard.wait_status(running, stack.IN_PROGRESS)
        self.cli(self.rival, "cancel", running)
        self.letter(running, "another organization")
        self.assertEqual(self.yard.get(running).status, stack.IN_PROGRESS)
        self.cli(self.owner, "cancel", running)
        self.assertEqual(self.yard.wait_end(running).status, stack.CANCELED)
        # Before the submit: the rival's counts for no job of this organization, its own does.
        first, second = str(uuid.uuid4()), str(uuid.uuid4())
        self.cli(self.rival, "cancel", first)
        self.cli(self.rival, "cancel", second)
        self.cli(self.owner, "cancel", second)
        for job_id in (first, second):
            stack.wait_until(lambda: self.yard.redis.ask("EXISTS", b"{ty:0}:j:" + uuid.UUID(job_id).bytes) == ":1", "it is remembered")
        stack.wait_until(lambda: int(self.yard.redis.ask("STRLEN", b"{ty:0}:j:" + uuid.UUID(second).bytes)[1:]) > 200, "both are")
        request = self.yard.custom_request("quick", f"m-{uuid.uuid4()}")
        header = lambda job_id, value: [("trainyard-signature", self.sign(job_id, value))]
        for job_id in (first, second):
            request.model_name = f"m-{uuid.uuid4()}"
            value = self.yard.command(job_id, submit_custom=request)
            self.yard.producer().send("mltraining.submit", key=job_id.encode(), value=value, headers=header(job_id, value)).get(30)
        self.completes(first)
        self.assertEqual(self.yard.wait_end(second).status, stack.CANCELED)

    def sign(self, job_id, value):
        sys.path.insert(0, str(stack.SOURCE / "schemas/examples"))
        import submit
        return submit.sign(pathlib.Path(self.owner), job_id.encode(), value)

    def test_6_signatures_that_do_not_hold(self):
        for name, change in (("another value", lambda header, value: (header, value + b"\x22\x01x")),
                             ("a bit of it", lambda header, value: (header[:-1] + bytes([header[-1] ^ 1]), value)),
                             ("a key that there is none of", lambda header, value: (uuid.uuid4().bytes + header[16:], value)),
                             ("a stranger's length", lambda header, value: (header + b"x", value))):
            job_id = str(uuid.uuid4())
            value = self.yard.command(job_id, submit_custom=self.yard.custom_request("quick", f"m-{uuid.uuid4()}"))
            header, value = change(self.sign(job_id, value), value)
            self.yard.producer().send("mltraining.submit", key=job_id.encode(), value=value, headers=[("trainyard-signature", header)]).get(30)
            self.letter(job_id, {"a key that there is none of": "there is no such key", "a stranger's length": "81 bytes"}.get(
                name, "it does not hold"))
            self.assertIsNone(self.yard.get(job_id), name)

    def test_7_a_key_that_was_revoked(self):
        key = self.key("temporary", stack.ORGANIZATION, "owner")
        self.completes(self.submit(key))
        self.yard.cli("keys", "revoke", self.temporary_id)
        stack.wait_until(lambda: self.yard.redis.ask("HEXISTS", "{ty:0}:a", f"revoked/{self.temporary_id}") == ":1", "the store knows")
        # The worker looks every second.
        deadline = time.monotonic() + 60
        while True:
            job_id = self.submit(key)
            letters = lambda: [letter for letter in json.loads(self.yard.cli("dead-letters", "list", "--json").stdout)["letters"]
                               if job_id in json.dumps(letter)]
            stack.wait_until(lambda: letters() or self.yard.get(job_id) is not None, "it is one or the other")
            if letters():
                break
            self.assertLess(time.monotonic(), deadline, "the revocation is not in force")
        self.letter(job_id, "the key was revoked")

    def test_8_a_file_that_is_no_key(self):
        done = self.cli(__file__, "cancel", str(uuid.uuid4()), check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("signing-key-file", done.stderr)
        self.assertEqual(self.cli("/nowhere", "cancel", str(uuid.uuid4()), check=False).returncode, 2)


if __name__ == "__main__":
    unittest.main()
