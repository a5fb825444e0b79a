"""Lines 33 to 41: logs, containers, and what lies beyond training."""
import re

import stack
from checklist.jobs import timestamp
from checklist.lines import shows

LINES = 60000
COUNTS = f'echo model > "$OUTPUT/m"; exec seq -f "number %06.0f of many, with some words that make a line longer" {LINES}'
CHATTY = 'while :; do seq 200; done'
NOISE = r"""echo model > "$OUTPUT/m"; printf 'bad \377\376 bytes\n\303\n'; printf 'ERROR: an error\n' >&2; printf 'good\n'"""
DAY_MS = 24 * 3600 * 1000
PAGES_MAX = 1000


class Logs:
    def page(self, id, **token):
        page = self.api.training("GetTrainingJobLogs", {"id": id, **token})
        return page.get("logs", []), page.get("nextPageToken", "")

    def pages(self, id):
        token = {}
        for _ in range(PAGES_MAX):
            entries, following = self.page(id, **token)
            yield entries
            if not following:
                return
            token = {"pageToken": following}
        self.fail(f"{PAGES_MAX} pages, and no end")

    @shows(33)
    def test_the_start_of_a_log(self):
        without, empty = self.page(self.counting), self.page(self.counting, pageToken="")
        self.assertEqual(without, empty)
        self.assertTrue(without[0])

    @shows(34)
    def test_a_log_that_grows(self):
        id = self.submit("chatty", "chatty")
        self.reaches(id, "IN_PROGRESS")
        stack.wait_until(lambda: self.page(id)[1], "more than a page")
        self.assertGreater(sum(1 for _ in self.pages(id)), 1)
        self.assertEqual(self.api.get(id)["status"], "TRAINING_STATUS_IN_PROGRESS")
        self.api.cancel(id)

    @shows(35)
    def test_pages_in_order(self):
        self.ends(self.counting, "COMPLETED")
        pages = list(self.pages(self.counting))
        self.assertGreater(len(pages), 2)
        entries = [entry for page in pages for entry in page]
        numbers = [int(entry["message"].split()[1]) for entry in entries if entry["message"].startswith("number ")]
        self.assertEqual(numbers, list(range(1, LINES + 1)))
        times = [timestamp(entry["time"]) for entry in entries]
        self.assertEqual(times, sorted(times))
        for token in ("x", "%", "AAAA", "-1", "é"):
            self.refused("INVALID_ARGUMENT", self.page, self.counting, pageToken=token)
        for id in self.UNKNOWN:
            self.refused("NOT_FOUND", self.page, id)
        self.assertEqual(self.open.training("GetTrainingJobLogs", {"id": self.waiting}), {})

    @shows(36)
    def test_entries(self):
        id = self.submit("noise", "noise")
        self.ends(id, "COMPLETED")
        entries = self.api.logs(id)  # this client refuses what is no UTF-8
        for entry in entries:
            self.assertTrue(entry["level"] and entry["time"] and "message" in entry, entry)
        self.assertTrue([entry for entry in entries if re.fullmatch(r"bad .* bytes", entry["message"])], entries)

    @shows(37)
    def test_logs_that_are_old(self):
        id = self.submit("train", "old")
        self.ends(id, "COMPLETED")
        self.assertTrue(self.page(id)[0])
        keys = [f"{{{id.replace('-', '')}}}:l{end}" for end in ("", ":1", ":1:c")]
        left = [int(self.yard.redis.ask("PTTL", key)[1:]) for key in keys if self.yard.redis.ask("EXISTS", key) == ":1"]
        self.assertGreater(len(left), 1)
        for ttl in left:
            self.assertAlmostEqual(ttl / DAY_MS, 7, delta=0.05)
        for key in keys:  # as Redis does it, only sooner
            self.yard.redis.ask("PEXPIRE", key, "1")
        stack.wait_until(lambda: all(self.yard.redis.ask("EXISTS", key) == ":0" for key in keys), "they have expired")
        self.assertEqual(self.page(id), ([], ""))

    @shows(38)
    def test_containers(self):
        containers = self.api.containers()
        self.assertIn("shell:1", containers)
        for key, container in containers.items():
            self.assertEqual(container["key"], key)
            self.assertRegex(container["uri"], r"^[a-z0-9.-]+/[a-z0-9/._-]+(:[\w.-]+)?$")
            self.assertGreater(timestamp(container["eol"]), 0)
        newer = self.raw().call("/viam.app.mltraining.v1.MLTrainingService/ListSupportedContainers", b"\x0a\x24" + stack.ORGANIZATION.encode())
        self.assertEqual((newer.status(), len(newer.body) > 5), (0, True))

    @shows(39)
    def test_what_local_training_needs(self):
        """By the command line program itself in clients_long_test.py; here by what it calls, in a connection of its own."""
        line, token = self.raw(self.yard.server), ("authorization", f"Bearer {self.token}")
        self.assertEqual(self.authenticate(self.yard.server, self.key["key_id"], payload=self.key["key"])[0], 0)
        self.assertEqual(line.call("/viam.app.mltraining.v1.MLTrainingService/ListSupportedContainers", headers=[token]).status(), 0)

    @shows(40)
    def test_what_is_not_there(self):
        line = self.raw(self.yard.server)
        for path in ("/viam.app.packages.v1.PackageService/CreatePackage", "/viam.app.v1.AppService/GetRegistryItem",
                     "/viam.app.v1.AppService/UpdateRegistryItem", "/viam.app.v1.AppService/NoSuchMethod", "/nothing"):
            answer = line.call(path, headers=[("authorization", f"Bearer {self.token}")])
            self.assertEqual((answer.header(":status"), answer.status()), (["200"], 12), path)

    @shows(41)
    def test_the_log_in_is_documented(self):
        """clients_long_test.py runs the commands."""
        text = (stack.SOURCE / "docs/compatibility.md").read_text()
        self.assertRegex(text, r"(?m)^viam --base-url http://\S+ login api-key --key-id \S+ --key \S+$")
