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
        from kafka import KafkaConsumer, TopicPartition
        consumer = KafkaConsumer(bootstrap_servers=self.yard.broker.address, api_version=(2, 5, 0),
                                 enable_auto_commit=False, max_partition_fetch_bytes=4 * LIMIT)
        place = TopicPartition(stack.PREFIX + "dead-letter", 0)
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        end = consumer.end_offsets([place])[place]
        found = []
        while consumer.position(place) < end:
            for records in consumer.poll(500).values():
                found += records
        consumer.close()
        return found

    def expect_dead_letter(self, topic, key, value, reason):
        sent = self.yard.publish(topic, key, value).get(30)

        def mine():
            for record in self.dead_letters():
                headers = {name: data.decode(errors="replace") for name, data in record.headers}
                if headers.get("trainyard-origin-topic") == stack.PREFIX + topic and (
                        headers.get("trainyard-origin-partition"), headers.get("trainyard-origin-offset")) == (
                            str(sent.partition), str(sent.offset)):
                    return record, headers
            return None
        record, headers = stack.wait_until(mine, f"a dead letter for {topic} {key}")
        self.assertIn(reason, headers["trainyard-origin-reason"])
        self.assertEqual(record.key, key.encode() if key else None)
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
