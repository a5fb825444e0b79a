"""Bad input of every kind to the built programs: a clear word each time, nothing lost, and the next good job is served."""
import io
import json
import os
import tarfile
import unittest
import uuid

import stack

KINDS = stack.broker_kinds()
GOOD = "echo ok; echo model > \"$OUTPUT/model\""
LIMIT = 1024 * 1024


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(stack.Stack(KINDS[0]))
        cls.yard.script("good", GOOD)
        cls.yard.start_responder()
        cls.worker = cls.yard.start_worker("worker-1", "--slots", "2")

    def tearDown(self):
        self.assertTrue(self.worker.alive(), "the worker has died")
        job_id = self.yard.publish_custom(self.yard.custom_request("good", f"good-{uuid.uuid4()}"))
        self.assertEqual(self.yard.wait_end(job_id).status, stack.COMPLETED)

    def dead_letters(self):
        return self.records("dead-letter", [0])

    def records(self, topic, partitions):
        from kafka import KafkaConsumer, TopicPartition
        consumer = KafkaConsumer(bootstrap_servers=self.yard.broker.address, api_version=(2, 5, 0),
                                 enable_auto_commit=False, max_partition_fetch_bytes=4 * LIMIT)
        places = [TopicPartition(stack.PREFIX + topic, number) for number in partitions]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        found = []
        while any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(500).values():
                found += records
        consumer.close()
        return found

    def expect_dead_letter(self, topic, key, value, reason):
        return self.expect_letter_of(self.yard.publish(topic, key, value).get(30), topic, key, reason)

    def expect_letter_of(self, sent, topic, key, reason):
        def mine():
            for record in self.dead_letters():
                headers = {name: data.decode(errors="replace") for name, data in record.headers}
                # By its key too: there are letters here whose places are made up.
                if record.key == (key.encode() if key else key) and headers.get("trainyard-origin-topic") == stack.PREFIX + topic and (
                        headers.get("trainyard-origin-partition"), headers.get("trainyard-origin-offset")) == (
                            str(sent.partition), str(sent.offset)):
                    return record, headers
            return None
        record, headers = stack.wait_until(mine, f"a dead letter for {topic} {key}")
        self.assertIn(reason, headers["trainyard-origin-reason"])
        return record, headers

    def test_records_that_are_no_command(self):
        good = self.yard.command(str(uuid.uuid4()), submit_custom=self.yard.custom_request("good", "m"))
        cases = {
            "empty": (b"", "value"),
            "random": (os.urandom(300), ""),
            "truncated": (good[:len(good) // 2], ""),
            "a NUL in a string": (self.yard.command("x", submit_custom=self.yard.custom_request("good", "a\0b")), "NUL"),
        }
        for name, (value, reason) in cases.items():
            with self.subTest(name):
                record, _ = self.expect_dead_letter("submit", str(uuid.uuid4()), value, reason)
                self.assertEqual(record.value or b"", value)

    def test_a_version_that_is_not_known(self):
        job_id = str(uuid.uuid4())
        command = self.yard.messages.command.JobCommand()
        command.ParseFromString(self.yard.command(job_id, submit_custom=self.yard.custom_request("good", "m")))
        command.format_version = 7
        record, _ = self.expect_dead_letter("submit", job_id, command.SerializeToString(), "format_version: 7")
        self.assertEqual(record.value, command.SerializeToString())

    def test_an_outage_is_held(self):
        """Mostly no commands: the partition is held, the worker says so and is not ready, and all is served in the end."""
        ready = self.yard.dir / "worker-1.ready"
        made = ready.stat().st_mtime_ns
        send = lambda key, value: self.yard.producer().send(stack.PREFIX + "delete", partition=5, key=key, value=value)
        first = send(None, b"\xff\xff").get(30)
        self.expect_letter_of(first, "delete", None, "")
        for _ in range(40):
            send(None, b"\xff\xff")
        for _ in range(20):
            job_id = str(uuid.uuid4())
            last = send(job_id.encode(), self.yard.command(job_id, delete={"id": job_id}))
        last.get(30)
        stack.wait_until(lambda: "event=worker.not_ready" in self.worker.text(), "it says that it is not ready")
        opened = next(line for line in self.worker.text().splitlines() if "event=intake.breaker_open" in line)
        for words in ("topic=delete", "partition=5", "level=error"):
            self.assertIn(words, opened)
        # It may have been away for a second only.
        stack.wait_until(lambda: ready.exists() and ready.stat().st_mtime_ns != made, "the ready file has gone, and is back")
        stack.wait_until(lambda: len(self.letters("topic=delete", "command=none")) >= 41, "all letters")

    def test_an_invalid_submit_leaves_a_failed_job(self):
        job_id = str(uuid.uuid4())
        request = self.yard.custom_request("good", "")
        self.expect_dead_letter("submit", job_id, self.yard.command(job_id, submit_custom=request), "model_name")
        job = self.yard.wait_end(job_id)
        self.assertEqual(job.status, stack.FAILED)
        self.assertIn("model_name", job.error_status.message)

    def test_near_and_over_the_size_limit(self):
        from kafka.errors import KafkaError
        noise = os.urandom(LIMIT - 1000)
        record, _ = self.expect_dead_letter("submit", str(uuid.uuid4()), noise, "")
        self.assertEqual(record.value, noise)
        if self.yard.broker.kind == "kafka":  # the topic's own limit; the development broker has none
            with self.assertRaises(KafkaError):
                self.yard.publish("submit", str(uuid.uuid4()), os.urandom(LIMIT + 1)).get(30)

    # ---- trainyard dead-letters

    def put_letter(self, key, value, *headers):
        """A letter as an intake has written it: for what only another version would have refused."""
        origin = [("trainyard-origin-topic", stack.PREFIX + "submit"), ("trainyard-origin-partition", "0"),
                  ("trainyard-origin-offset", "4"), ("trainyard-origin-time", "2026-01-02T03:04:05.678Z"),
                  ("trainyard-origin-reason", "format_version: 1 is not 0")]
        sent = self.yard.producer().send(stack.PREFIX + "dead-letter", key=key, value=value, headers=[
            (name, data.encode()) for name, data in [*origin, *headers]]).get(30)
        return f"{sent.partition}/{sent.offset}"

    def letters(self, *filters):
        flags = [word for part in filters for word in ("--filter", part)]
        return json.loads(self.yard.cli("dead-letters", "list", "--json", *flags).stdout)["letters"]

    def replay(self, *words, status=0):
        done = self.yard.cli("dead-letters", "replay", "--json", *words, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return json.loads(done.stdout), done.stderr

    def test_a_letter_is_replayed_as_it_was(self):
        job_id = str(uuid.uuid4())
        value = self.yard.command(job_id, submit_custom=self.yard.custom_request("good", f"replayed-{job_id}"))
        # It was a letter before: the last header of each name counts.
        place = self.put_letter(job_id.encode(), value, ("traceparent", "00-1"), ("blank", ""),
                                ("trainyard-replay-of", "0/3"), ("trainyard-origin-topic", stack.PREFIX + "submit"),
                                ("trainyard-origin-offset", "12"), ("trainyard-origin-reason", "a later reason"))
        letter, = self.letters(f"job={job_id}")
        self.assertEqual(f"{letter['partition']}/{letter['offset']}", place)
        self.assertEqual(letter["origin"], {"topic": stack.PREFIX + "submit", "partition": 0, "offset": 12,
                                            "time": "2026-01-02T03:04:05.678Z"})
        self.assertEqual((letter["command"], letter["reason"], letter["stub"], letter["replay_of"]),
                         ("submit-custom", "a later reason", False, "0/3"))
        shown = json.loads(self.yard.cli("dead-letters", "show", place, "--json").stdout)
        self.assertEqual(bytes.fromhex(shown["value_hex"]), value)
        self.assertEqual(shown["message"]["submit_custom"]["model_name"], f"replayed-{job_id}")
        self.assertTrue(shown["replayable"])
        text = self.yard.cli("dead-letters", "show", place).stdout
        for words in (place, "traceparent: 00-1", f'"job_id": "{job_id}"', "a later reason"):
            self.assertIn(words, text)
        dry, _ = self.replay("--filter", f"job={job_id}", "--dry-run")
        self.assertEqual([sent["letter"] for sent in dry["replayed"]], [place])
        self.assertIsNone(self.yard.get(job_id))
        sent = [self.replay(place)[0]["replayed"][0]]
        self.assertEqual(self.yard.wait_end(job_id).status, stack.COMPLETED)
        # Again, in the other way: the job is there, and stays as it is.
        before = self.yard.get(job_id)
        sent += self.replay("--filter", f"job={job_id}", "--yes")[0]["replayed"]
        self.assertEqual(len(sent), 2)
        records = {(record.partition, record.offset): record
                   for record in self.records("submit", {entry["partition"] for entry in sent})}
        for entry in sent:
            record = records[entry["partition"], entry["offset"]]
            self.assertEqual((entry["topic"], record.key, record.value), (stack.PREFIX + "submit", job_id.encode(), value))
            self.assertEqual(record.headers, [("traceparent", b"00-1"), ("blank", b""),
                                              ("trainyard-replay-of", place.encode())])
        self.settled()
        self.assertEqual(self.yard.get(job_id), before)
        self.assertEqual(len(self.letters(f"job={job_id}")), 1)

    def settled(self):
        """Waits until everything that was published before is applied: of each partition what came last is."""
        ids = [str(uuid.uuid4()) for _ in range(8)]
        for partition, job_id in enumerate(ids):
            self.yard.producer().send(stack.PREFIX + "submit", partition=partition, key=job_id.encode(), value=self.yard.command(
                job_id, submit_custom=self.yard.custom_request("good", "")))
        for job_id in ids:
            self.yard.wait_end(job_id)

    def test_what_is_refused_again_becomes_a_letter_of_its_own(self):
        for key, value in ((b"", b"\xff\xff"), (None, b"noise"), (b"nobody", None)):
            with self.subTest(key=key):
                first = self.yard.producer().send(stack.PREFIX + "cancel", key=key, value=value, headers=[("own", b"1")]).get(30)
                letter, _ = self.expect_letter_of(first, "cancel", key if not key else key.decode(), "")
                self.assertEqual((letter.key, letter.value), (key, value))
                place = f"{letter.partition}/{letter.offset}"
                self.assertIn("own: 1", self.yard.cli("dead-letters", "show", place).stdout)
                entry = self.replay(place)[0]["replayed"][0]
                second = stack.wait_until(lambda: [record for record in self.dead_letters() if dict(record.headers).get(
                    "trainyard-replay-of") == place.encode()], "a letter of the replay")[0]
                self.assertEqual((second.key, second.value), (key, value))
                names = [name for name, _ in second.headers]
                self.assertEqual(sorted(names), sorted(set(names)))  # nothing is there twice
                headers = dict(second.headers)
                self.assertEqual((headers["own"], headers["trainyard-origin-offset"]), (b"1", str(entry["offset"]).encode()))

    def test_another_job_under_the_id_stays_a_letter(self):
        job_id = self.yard.publish_custom(self.yard.custom_request("good", "first"))
        value = self.yard.command(job_id, submit_custom=self.yard.custom_request("good", "second"))
        letter, _ = self.expect_dead_letter("submit", job_id, value, "another job")
        for count in (2, 3):
            self.replay(f"{letter.partition}/{letter.offset}")
            stack.wait_until(lambda: len(self.letters(f"job={job_id}", "reason=job_id: there is another*")) == count, "its letter")
        self.assertEqual(self.yard.wait_end(job_id).model_name, "first")

    def test_letters_that_cannot_be_replayed(self):
        job_id = str(uuid.uuid4())
        value = self.yard.command(job_id, submit_custom=self.yard.custom_request("good", "m"))
        stub = self.put_letter(job_id.encode(), value[:20], ("trainyard-stub", "1"))
        foreign = self.put_letter(job_id.encode(), value, ("trainyard-origin-topic", "elsewhere.submit"))
        nameless = self.put_letter(job_id.encode(), value, ("trainyard-origin-topic", ""))
        answer, complaint = self.replay("--filter", f"job={job_id}", "--yes", status=6)
        self.assertEqual(answer["replayed"], [])
        reasons = {entry["letter"]: entry["reason"] for entry in answer["not_replayed"]}
        self.assertEqual(set(reasons), {stub, foreign, nameless})
        for place, words in ((stub, "stub"), (foreign, "elsewhere.submit"), (nameless, "does not say")):
            self.assertIn(words, reasons[place])
        self.assertIn(f"3 letters were not sent; the first: letter {stub}", complaint)
        answer, _ = self.replay("--filter", f"job={job_id}", "--filter", "stub=yes", "--dry-run", status=6)
        self.assertEqual([entry["letter"] for entry in answer["not_replayed"]], [stub])
        # What can be sent is, beside what cannot.
        good = self.put_letter(job_id.encode(), self.yard.command(job_id, submit_custom=self.yard.custom_request("good", f"g-{job_id}")))
        answer, complaint = self.replay(stub, good, "0/99999999", status=6)
        self.assertEqual([entry["letter"] for entry in answer["replayed"]], [good])
        self.assertEqual([entry["letter"] for entry in answer["not_replayed"]], [stub, "0/99999999"])
        self.assertEqual(self.yard.wait_end(job_id).status, stack.COMPLETED)

    def test_dead_letters_by_filter(self):
        mine = str(uuid.uuid4())
        self.put_letter(mine.encode(), b"\x80", ("trainyard-origin-topic", stack.PREFIX + "delete"))
        self.put_letter(mine.encode(), self.yard.command(mine, submit_custom=self.yard.custom_request("good", "m")))
        for filters, count in (((), 2), (("command=none",), 1), (("command=submit-custom",), 1), (("topic=delete",), 1),
                               (("topic=submit", "topic=delete"), 2), (("reason=format_version*",), 2), (("reason=x*",), 0),
                               (("since=1h",), 2), (("until=1h",), 0), (("since=2100-01-01T00:00:00Z",), 0)):
            self.assertEqual(len(self.letters(f"job={mine}", *filters)), count, filters)
        done = self.yard.cli("dead-letters", "list", "--filter", f"job={mine}", "--limit", "1")
        self.assertEqual(len(done.stdout.splitlines()), 2)
        self.assertIn("2 letters fit, and these are the newest 1", done.stderr)
        for words, status, complaint in (
                (("list", "--filter", "since=yesterday"), 2, "neither an age"), (("list", "--filter", "topic=events"), 2, "topic"),
                (("show",), 2, "one PARTITION/OFFSET"), (("show", "0/x"), 2, "0/17"), (("show", "0/99999999"), 4, "offsets 0 to"),
                (("show", "7/0"), 4, "partitions 0 to 0"), (("replay",), 2, "missing"), (("replay", "--filter", "job=x"), 2, "--yes"),
                (("replay", "0/1", "--filter", "job=x"), 2, "one or the other"), (("burn",), 2, "neither list nor show"),
                (("list", "--topic-prefix", "nobody."), 6, "nobody.dead-letter"), (("list", "--yes"), 2, "replay")):
            done = self.yard.cli("dead-letters", *words, check=False)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(complaint, done.stderr)

    def test_a_large_job(self):
        job_id = str(uuid.uuid4())
        request = self.yard.custom_request("good", f"large-{job_id}")
        for number in range(15):
            request.arguments[f"a{number}"] = "x" * 16000
        self.yard.publish_custom(request, job_id=job_id)
        self.assertEqual(self.yard.wait_end(job_id).status, stack.COMPLETED)

    def run_script(self, name, expected, files=None, entries=(), dataset="empty-set"):
        place = self.yard.store / "scripts" / "test" / name
        place.mkdir(parents=True)
        with tarfile.open(place / "1.tar.gz", "w:gz") as archive:
            for path, content in (files or {}).items():
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            for entry in entries:
                archive.addfile(entry)
        job_id = self.yard.publish_custom(self.yard.custom_request(name, f"model-{name}", dataset=dataset))
        job = self.yard.wait_end(job_id)
        self.assertEqual(job.status, stack.FAILED)
        for words in expected:
            self.assertIn(words, job.error_status.message)

    WHOLE = {"s/setup.py": b"", "s/model/__init__.py": b"", "s/model/training.py": GOOD.encode()}

    def test_archives(self):
        link = tarfile.TarInfo("s/model/link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../etc/passwd"
        device = tarfile.TarInfo("s/model/device")
        device.type = tarfile.CHRTYPE
        cases = {
            "dotdot": ({**self.WHOLE, "s/../../evil": b"x"}, (), ["s/../../evil"]),
            "absolute": ({**self.WHOLE, "/tmp/trainyard-evil": b"x"}, (), ["/tmp/trainyard-evil"]),
            "link-out": (self.WHOLE, (link,), ["s/model/link"]),
            "device": (self.WHOLE, (device,), ["s/model/device"]),
            "no-setup": ({"s/model/training.py": b""}, (), ["setup.py"]),
            "no-training": ({"s/setup.py": b""}, (), ["training.py"]),
            "empty": ({}, (), ["empty"]),
        }
        for name, (files, entries, expected) in cases.items():
            with self.subTest(name):
                self.run_script(name, expected, files, entries)
        self.assertFalse(os.path.exists("/tmp/trainyard-evil"))

    def test_a_script_that_is_no_archive(self):
        place = self.yard.store / "scripts" / "test" / "noise"
        place.mkdir(parents=True)
        (place / "1.tar.gz").write_bytes(os.urandom(1000))
        job_id = self.yard.publish_custom(self.yard.custom_request("noise", "noise"))
        job = self.yard.wait_end(job_id)
        self.assertEqual(job.status, stack.FAILED)
        self.assertIn("noise", job.error_status.message)

    def test_a_data_set_line_that_is_no_json(self):
        self.yard.dataset("broken", ['{"image_path": "a.png"}', '{"image_path": "b.png"', '{"image_path": "c.png"}'])
        self.run_script("reads-broken", ["dataset.jsonl:2"], self.WHOLE, dataset="broken")

    def test_a_data_set_that_is_not_there(self):
        job_id = self.yard.publish_custom(self.yard.custom_request("good", "no-set", dataset="nowhere"))
        self.assertIn("nowhere", self.yard.wait_end(job_id).error_status.message)

    def test_scripts_that_fail(self):
        self.yard.script("exits", "echo the last words; exit 3")
        self.yard.script("leaves-nothing", "echo nothing")
        self.yard.script("noise-out", "head -c 100000 /dev/urandom; head -c 3000 /dev/zero; printf '\\377\\376 end'; echo x > $OUTPUT/m")
        job = self.yard.wait_end(self.yard.publish_custom(self.yard.custom_request("exits", "exits")))
        self.assertEqual(job.status, stack.FAILED)
        self.assertIn("3", job.error_status.message)
        self.assertIn("the last words", job.error_status.message)
        job = self.yard.wait_end(self.yard.publish_custom(self.yard.custom_request("leaves-nothing", "nothing")))
        self.assertIn("no files in its output directory", job.error_status.message)
        job_id = self.yard.publish_custom(self.yard.custom_request("noise-out", "noise-out"))
        self.assertEqual(self.yard.wait_end(job_id).status, stack.COMPLETED)
        self.assertTrue(self.yard.logs(job_id))  # valid UTF-8, or this client would refuse it

    def test_a_wrong_catalogue(self):
        import subprocess
        catalog = json.loads((self.yard.catalog / "containers.json").read_text())
        catalog["containers"][0]["eol"] = "some day"
        place = self.yard.dir / "wrong"
        place.mkdir()
        (place / "containers.json").write_text(json.dumps(catalog, indent=2))
        (place / "trainers.json").write_text((self.yard.catalog / "trainers.json").read_text())
        for program in ("trainyard-worker", "trainyard-responder"):
            done = subprocess.run([stack.BUILD / "bin" / program, "--catalog-dir", place], stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, text=True, timeout=30)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertRegex(done.stderr, r"containers\.json:\d+: containers\[0\]\.eol")


if __name__ == "__main__":
    unittest.main(verbosity=2)
