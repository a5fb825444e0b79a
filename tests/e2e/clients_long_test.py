"""Viam's command line program and its Go SDK, unchanged, through the round trip of foreign/trip.py, and what else of the command
line program touches training."""
import importlib
import os
import pathlib
import re

import stack
from foreign import driver, trip, viam_cli


class GoClients(trip.Trip):
    @classmethod
    def setUpClass(cls):
        if os.environ.get("TRAINYARD_WITHOUT_VIAM_GO"):
            stack.skip(os.environ["TRAINYARD_WITHOUT_VIAM_GO"])
        super().setUpClass()
        cls.programs = pathlib.Path(trip.foreign("go/build", "viam"))

    def cli(self, **env):
        home = self.yard.dir / f"home-{self._testMethodName}"
        home.mkdir()
        message = importlib.import_module("viam.app.mltraining.v1.ml_training_pb2").TrainingJobMetadata
        return viam_cli.ViamCli(self.programs / "viam", home, message, **env)

    def grpc_url(self):
        return f"http://{self.yard.server}"

    def test_viam_cli(self):
        self.trip(self.cli(), lacks=("delete",), url=self.grpc_url())

    def test_viam_cli_over_tls(self):
        url = f"https://{self.tls()[0]}"
        cli = self.cli(SSL_CERT_FILE=str(self.yard.cert))
        cli.name += ", TLS"
        self.trip(cli, lacks=("delete",), url=url)

    def test_go_sdk(self):
        version = self.cli().version  # both are of one module
        self.trip(driver.Program("Go SDK", version, [self.programs / "sdk"], self.yard.dir / "go_sdk.log"), lacks=("containers",),
                  url=self.grpc_url())

    def logged_in(self):
        cli = self.cli()
        cli.open(**{**self.key, "url": self.grpc_url()})
        return cli

    def test_arguments_and_container_of_the_cli(self):
        cli = self.logged_in()
        id = cli.submit(stack.ORGANIZATION, "empty-set", "test:train", "1", "arguments", "1", arguments={"num_epochs": "3", "name": "a b"})
        job = cli.get(id)
        self.assertEqual((job["arguments"], job["containerVersion"]), ({"num_epochs": "3", "name": "a b"}, "shell:1"))

    def test_local_training_asks_for_the_container(self):
        """Log-in and ListSupportedContainers are all that it needs of the server; `docker` here says what it was asked to run."""
        cli, place = self.logged_in(), self.yard.dir / "local"
        for path in ("script/model/training.py", "script/setup.py", "data/dataset.jsonl", "bin/docker"):
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text("")
        (place / "bin/docker").write_text('#!/bin/sh\necho "docker $*"\n')
        (place / "bin/docker").chmod(0o755)
        done = cli.run("training-script", "test-local", "--dataset-root", place / "data", "--training-script-directory",
                       place / "script", "--container-version", "shell:1", "--model-output-directory", place / "model",
                       env={"PATH": f"{place / 'bin'}:{os.environ['PATH']}"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"docker run .* docker\.io/library/debian:12 /run_training\.sh")

    def test_scripts_cannot_be_uploaded(self):
        """A clean failure: PackageService and the registry are not there."""
        cli, place = self.logged_in(), self.yard.dir / "upload"
        (place / "model").mkdir(parents=True)
        for path in ("setup.py", "model/training.py"):
            (place / path).write_text("")
        for words in (("upload", "--path", place, "--script-name", "mine", "--framework", "onnx", "--org-id", stack.ORGANIZATION),
                      ("update", "--script-name", "mine", "--visibility", "private", "--org-id", stack.ORGANIZATION)):
            done = cli.run("training-script", *words)
            self.assertEqual(done.returncode, 1, done.stdout)
            # While it still sends it is not told the status and says that the stream has ended.
            self.assertRegex(done.stderr, r"Unimplemented|\bEOF$")

    def test_what_the_documentation_says(self):
        """Every command of docs/compatibility.md for it, as it stands there but for the names."""
        names = {"http://127.0.0.1:8480": self.grpc_url(), "acme": stack.ORGANIZATION, "ID": self.key["key_id"],
                 "SECRET": self.key["key"], "digits": "empty-set", "python:3.11-sklearn": "shell:1", "JOB": None}
        commands, cli = re.findall(r"^viam (.*)$", (stack.SOURCE / "docs/compatibility.md").read_text(), re.M), self.cli()
        self.assertGreater(len(commands), 3)
        for command in commands:
            done = cli.run(*(names.get(word, word).replace("acme:digits", "test:train") for word in command.split()))
            self.assertEqual(done.returncode, 0, f"viam {command}: {done.stderr}")
            if done.stdout.startswith("Submitted"):
                names["JOB"] = done.stdout.split()[-1]


if __name__ == "__main__":
    trip.main("clients_long")
