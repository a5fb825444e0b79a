#!/usr/bin/python3
"""deploy/packages, demo/make_dataset, demo/evaluate and install-script."""
import json
import os
import pathlib
import subprocess
import tarfile
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def run(program, *words):
    return subprocess.run([DEPLOY / program, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=200)


class InDirectory(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="ty-deploy-")
        self.addCleanup(place.cleanup)
        self.dir = pathlib.Path(place.name)

    def ok(self, program, *words):
        done = run(program, *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout


class Packages(unittest.TestCase):
    def test_every_package_exists_on_this_machine_when_nothing_is_missing(self):
        done = run("packages", "missing", "build")
        self.assertEqual((done.returncode, done.stdout), (0, ""), "this test was built, so nothing of that is missing")

    def test_groups(self):
        listed = run("packages", "list", "build", "kafka").stdout.split()
        self.assertIn("librdkafka-dev", listed)
        self.assertIn("maven", listed)
        self.assertEqual(listed, sorted(set(listed)))

    def test_wrong_usage(self):
        for words in ((), ("install",), ("list", "build", "nonsense"), ("nonsense", "build")):
            with self.subTest(words):
                done = run("packages", *words)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertTrue(done.stderr)


class Dataset(InDirectory):
    def make(self, *words):
        self.ok("demo/make_dataset", "--store", self.dir / "store", "--held-out", self.dir / "held", *words)
        dataset = self.dir / "store/datasets/digits"
        return dataset, [json.loads(line) for line in (dataset / "dataset.jsonl").read_text().splitlines()]

    def test_lines_are_as_the_training_contract_says(self):
        dataset, lines = self.make()
        self.assertGreater(len(lines), 1400)
        for entry in lines:
            self.assertTrue((dataset / entry["image_path"]).is_file())
            self.assertEqual(entry["bounding_box_annotations"], [])
            self.assertRegex(entry["timestamp"], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \+0000 UTC$")
            (annotation,) = entry["classification_annotations"]
            self.assertIn(annotation["annotation_label"], "0123456789")

    def test_managed_lines(self):
        dataset, lines = self.make("--shape", "managed")
        self.assertEqual(set(lines[0]), {"image_gcs_uri", "classification_annotation"})
        self.assertTrue((dataset / lines[0]["image_gcs_uri"]).is_file())

    def test_nothing_held_out_is_in_the_data_set_and_twice_is_the_same(self):
        dataset, lines = self.make()
        held = {json.loads(line)["image"] for line in (self.dir / "held/labels.jsonl").read_text().splitlines()}
        self.assertFalse(held & {entry["image_path"] for entry in lines})
        self.assertEqual(len(held) + len(lines), 1797)
        self.assertEqual(len(list((dataset / "data").iterdir())), len(lines))
        before = {path: path.read_bytes() for path in sorted(dataset.rglob("*")) if path.is_file()}
        self.make()
        self.assertEqual(before, {path: path.read_bytes() for path in sorted(dataset.rglob("*")) if path.is_file()})

    def test_held_out_inside_of_the_data_set_is_refused(self):
        done = run("demo/make_dataset", "--store", self.dir, "--held-out", self.dir / "datasets/digits/held")
        self.assertEqual(done.returncode, 2)
        self.assertIn("outside", done.stderr)


class Evaluate(InDirectory):
    def test_a_model_that_is_not_there_or_no_model(self):
        self.ok("demo/make_dataset", "--store", self.dir, "--held-out", self.dir / "held")
        place = self.dir / "models/o/m/1"
        words = ("--store", self.dir, "--model", "o/m/1", "--held-out", self.dir / "held")
        self.assertEqual(run("demo/evaluate", *words).returncode, 1)
        place.mkdir(parents=True)
        (place / "model.onnx").write_bytes(b"\xff" * 100)
        done = run("demo/evaluate", *words)
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith("evaluate: "), done.stderr)


class InstallScript(InDirectory):
    def test_the_same_folder_gives_the_same_bytes_and_a_version_is_never_overwritten(self):
        folder = self.dir / "script"
        (folder / "model/__pycache__").mkdir(parents=True)
        (folder / "setup.py").write_text("from setuptools import setup\nsetup(name='x', version='2.1')\n")
        (folder / "model/training.py").write_text("print(1)\n")
        (folder / "model/__pycache__/training.pyc").write_bytes(b"x")
        words = (folder, "--store", self.dir / "store", "--as", "org:name")
        target = self.dir / "store/scripts/org/name/2.1.tar.gz"
        self.assertEqual(self.ok("install-script", *words).strip(), str(target))
        content = target.read_bytes()
        with tarfile.open(target) as archive:
            self.assertEqual(archive.getnames(), ["name-2.1/model/training.py", "name-2.1/setup.py"])
        os.utime(folder / "setup.py", (1, 1))
        self.ok("install-script", *words)
        self.assertEqual(target.read_bytes(), content)
        (folder / "model/training.py").write_text("print(2)\n")
        done = run("install-script", *words)
        self.assertEqual(done.returncode, 1)
        self.assertIn("raise the version", done.stderr)
        self.assertEqual(target.read_bytes(), content)
        self.ok("install-script", *words, "--version", "2.2")

    def test_wrong_input(self):
        (self.dir / "empty").mkdir()
        for words, code, text in ((("--as", "org:name"), 1, "setup.py"), (("--as", "name"), 2, "PREFIX:NAME"),
                                  (("--as", "../x:name"), 2, "PREFIX:NAME")):
            with self.subTest(words):
                done = run("install-script", self.dir / "empty", "--store", self.dir, *words)
                self.assertEqual(done.returncode, code)
                self.assertIn(text, done.stderr)



class AccessRules(unittest.TestCase):
    def test_users_of_redis_are_those_of_the_scripts(self):
        done = run("redis/acl", "check")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_commands_for_kafka(self):
        done = run("kafka/acls", "print", "--prefix", "p.", "--group", "g", "intake=User:in take")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("--allow-principal 'User:in take' --topic p.dead-letter --resource-pattern-type literal --operation Write",
                      done.stdout)
        self.assertIn("--group g ", done.stdout)
        self.assertIn("--transactional-id p.events- --resource-pattern-type prefixed --operation Write", done.stdout)
        self.assertEqual(run("kafka/acls", "print", "nobody=User:x").returncode, 2)


if __name__ == "__main__":
    unittest.main()
