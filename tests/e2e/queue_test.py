"""Whose turn it is: pauses, limits and turns, set with the command line and seen by clients."""
import json
import unittest
import uuid

import stack

KINDS = stack.broker_kinds()
OTHER = "0b6a8a53-4f1f-4a7a-9c55-6f0b6b7a2e22"


class Queue(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.gate = cls.yard.dir / "gate"
        cls.yard.script("quick", 'echo model > "$OUTPUT/model"')
        cls.yard.script("gated", f'while [ ! -e {cls.gate} ]; do sleep 0.05; done; echo model > "$OUTPUT/model"')
        cls.yard.start_responder()
        cls.yard.start_worker("worker-1", "--slots", "1", "--grace-ms", "1000", "--lease-ms", "10000")

    def setUp(self):
        self.gate.unlink(missing_ok=True)

    def tearDown(self):
        """What a test that failed has left does not fail the next one."""
        self.gate.touch()
        for words in (("resume", "--all"), ("resume", stack.ORGANIZATION), ("limit", stack.ORGANIZATION, "--none")):
            self.yard.cli(*words)

    def submit(self, script, organization=stack.ORGANIZATION, *flags):
        return self.yard.cli("submit-custom", "--org", organization, "--dataset", "empty-set", "--container", "shell:1",
                             "--script", f"test:{script}", "--model-name", f"m-{uuid.uuid4()}", *flags).stdout.strip()

    def pending(self, job_id):
        return json.loads(self.yard.cli("get", "--json", job_id).stdout)["pending"]

    def wait_reason(self, job_id, reason):
        last = [None]

        def check():
            done = self.yard.cli("get", "--json", job_id, check=False)
            last[0] = json.loads(done.stdout)["pending"] if done.returncode == 0 else done.stderr
            return last[0] and isinstance(last[0], dict) and last[0]["reason"] == reason and last[0]
        return stack.wait_until(check, lambda: f"{job_id} waits for {reason}, but: {last[0]}")

    def rule(self, verb, *words):
        """Sets a rule and waits until the store has it."""
        key = json.loads(self.yard.cli(verb, "--json", *words).stdout)["rules"][0]["key"]
        there = verb != "resume" and "--none" not in words
        stack.wait_until(lambda: (self.yard.redis.ask("HEXISTS", "{ty:0}:g", key) == ":1") == there, lambda: f"the store has {words}")

    def test_a_paused_organization_starts_nothing_and_others_do(self):
        self.rule("pause", stack.ORGANIZATION)
        waits = self.submit("quick")
        self.assertEqual(self.yard.wait_end(self.submit("quick", OTHER)).status, stack.COMPLETED)
        self.wait_reason(waits, "organization_paused")
        self.assertIn("Waits for", self.yard.cli("get", waits).stdout)
        self.rule("resume", stack.ORGANIZATION)
        self.assertEqual(self.yard.wait_end(waits).status, stack.COMPLETED)
        self.assertIsNone(self.pending(waits))

    def test_a_paused_fleet_stays_paused_when_the_store_is_lost(self):
        self.rule("pause", "--all")
        before = self.submit("quick")
        self.wait_reason(before, "fleet_paused")
        self.yard.redis.ask("FLUSHALL")
        after = self.submit("quick", OTHER)
        for job_id in (before, after):
            self.wait_reason(job_id, "fleet_paused")
        self.rule("resume", "--all")
        for job_id in (before, after):  # for a lease nothing starts
            self.assertEqual(self.yard.wait_end(job_id, 120).status, stack.COMPLETED)

    def test_a_limit(self):
        worker = self.yard.start_worker("worker-2", "--slots", "2", "--grace-ms", "1000")
        self.addCleanup(worker.stop)
        self.rule("limit", stack.ORGANIZATION, "--max-running", "1")
        first = self.submit("gated")
        self.yard.wait_status(first, stack.IN_PROGRESS)  # the two come over different partitions, in any order
        second = self.submit("gated")
        wait = self.wait_reason(second, "organization_limit")
        self.assertEqual((wait["limit"], wait["position"]), (1, 1))
        self.yard.cli("cancel", first)
        self.yard.wait_status(second, stack.IN_PROGRESS)
        self.gate.touch()
        self.assertEqual(self.yard.wait_end(second).status, stack.COMPLETED)
        self.assertEqual(self.yard.wait_end(first).status, stack.CANCELED)
        self.rule("limit", stack.ORGANIZATION, "--none")

    def rules(self):
        """The rules in force, by key, and how many records are none."""
        told = json.loads(self.yard.cli("rules", "--json").stdout)
        return {rule["key"]: rule for rule in told["rules"]}, told["ignored"]

    def test_rules_are_listed(self):
        for words in (("resume", "--all"), ("resume", OTHER), ("limit", "--all", "--none"), ("limit", OTHER, "--none")):
            self.yard.cli(*words)
        self.assertEqual(self.rules()[0], {})
        self.assertIn("nothing is paused", self.yard.cli("rules").stderr)
        for words in (("pause", OTHER), ("limit", OTHER, "--max-running", "7"), ("limit", "--all", "--max-running", "3"),
                      ("limit", OTHER, "--max-running", "2"), ("pause", stack.ORGANIZATION), ("resume", stack.ORGANIZATION)):
            self.yard.cli(*words)
        rules = self.rules()[0]
        self.assertEqual({key: (rule["kind"], rule["organization"], rule["max_running"]) for key, rule in rules.items()},
                         {f"pause/{OTHER}": ("pause", OTHER, None), f"limit/{OTHER}": ("limit", OTHER, 2), "limit/*": ("limit", None, 3)})
        text = self.yard.cli("rules").stdout
        for line in (r"\(all\) +at most 3 running +20\d\d-", rf"{OTHER} +at most 2 running +20", rf"{OTHER} +paused +20"):
            self.assertRegex(text, line)
        for words in (("resume", OTHER), ("limit", OTHER, "--none"), ("limit", "--all", "--none")):
            self.yard.cli(*words)
        self.assertEqual(self.rules()[0], {})

    def test_a_single_job_is_next_behind_a_backlog(self):
        running = self.submit("gated")
        self.yard.wait_status(running, stack.IN_PROGRESS)
        backlog = [self.submit("quick") for _ in range(6)]
        urgent = self.submit("quick", stack.ORGANIZATION, "--priority", "5")
        single = self.submit("quick", OTHER)
        self.assertEqual(self.wait_reason(single, "queued")["position"], 1)
        self.assertEqual(self.wait_reason(urgent, "queued")["position"], 2)
        self.assertEqual(self.wait_reason(backlog[0], "queued")["position"], 3)
        for job_id in backlog:
            self.wait_reason(job_id, "queued")
        self.gate.touch()
        ended = {job_id: self.yard.wait_end(job_id) for job_id in [single, urgent, *backlog]}
        order = sorted(ended, key=lambda job_id: ended[job_id].training_started.ToMicroseconds())
        self.assertEqual(order, [single, urgent, *backlog])

    def test_a_place_among_very_many_organizations(self):
        self.rule("pause", "--all")
        job_id = self.submit("quick")
        wait = self.wait_reason(job_id, "fleet_paused")
        self.assertEqual((wait["position"], wait["position_is_least"]), (1, False))
        # Their jobs are missing, which costs them their turn when it comes.
        self.yard.redis.ask("EVAL", "for i = 1, 1001 do redis.call('ZADD', '{ty:0}:r:shell:1', -i, 'org-' .. i) end", "0")
        self.assertTrue(self.pending(job_id)["position_is_least"])
        self.assertIn("; number at least 1 in its queue", self.yard.cli("get", job_id).stdout)
        self.rule("resume", "--all")
        self.assertEqual(self.yard.wait_end(job_id).status, stack.COMPLETED)

    def test_what_is_no_rule_is_refused(self):
        for words, text in ((["pause"], "no organization is named"), (["pause", "--all", "acme"], "takes no organizations"),
                            (["limit", "acme"], "one of --max-running and --none"), (["resume", "a/b"], "organization"),
                            (["limit", "*", "--max-running", "1"], "--all is for all")):
            done = self.yard.cli(*words, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)
            self.assertIn(text, done.stderr)
        self.yard.publish("settings", "quota/acme", b"x").get(30)
        letters = []

        def check():
            letters[:] = json.loads(self.yard.cli("dead-letters", "list", "--json").stdout)["letters"]
            return letters
        stack.wait_until(check, lambda: "there is a dead letter")
        self.assertIn("key: is neither", letters[0]["reason"])
        rules, ignored = self.rules()
        self.assertEqual((rules, ignored), ({}, 1))
        self.assertIn("1 of the topic's records are no rules", self.yard.cli("rules").stderr)


if __name__ == "__main__":
    unittest.main()
