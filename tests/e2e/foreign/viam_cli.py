"""Viam's command line program behind the face of driver.py: one call is one run of it, with a home directory of its own, and what
it prints is read as a person would: the messages are Go's text form, the log lines look like JSON and are not."""
import json
import os
import re

from foreign import driver


class ViamCli:
    name = "Viam CLI"

    def __init__(self, program, home, message, **env):
        """`message` is the class of TrainingJobMetadata: the text form is read with it."""
        self.program, self.message = program, message
        self.env = {**os.environ, "HOME": str(home), "NO_COLOR": "1", **env}
        self.version = driver.run([program, "version"], env=self.env).stdout.split()[1]

    def run(self, *words, env=None):
        # --quiet: without the look for a newer version of itself, elsewhere.
        return driver.run([self.program, "--quiet", *words], env={**self.env, **(env or {})})

    def said(self, *words):
        """The standard output of a run that succeeds."""
        done = self.run(*words)
        if done.returncode == 0:
            return done.stdout
        found = re.search(r"code = (\w+) desc = (.*)", done.stderr, re.S)
        if not found:
            raise driver.Refused("CLIENT", done.stderr)
        code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", found[1]).upper().replace("CANCELED", "CANCELLED")
        raise driver.Refused(code, found[2].strip())

    def call(self, verb, **words):
        if verb == "delete":
            raise driver.Unsupported("the CLI has no command for it")
        return getattr(self, verb)(**words)

    def open(self, url, key_id=None, key=None, **_):
        self.said("--base-url", url, "login", "api-key", "--key-id", key_id, "--key", key)

    def organizations(self):
        return [{"id": found[2], "name": found[1]}
                for found in re.finditer(r"^\t(.*) \(id: ([^)]*)\)", self.said("organizations", "list"), re.M)]

    def containers(self):
        said = self.said("train", "containers", "list", "--include-uris")
        return {one["Name"]: {"key": one["Name"], "uri": one["URI"], "eol": one["EndOfLife"]}
                for one in json.loads(said[said.index("["):])}

    @staticmethod
    def submitted(said):
        return re.fullmatch(r"Submitted training job with ID (\S+)\n", said)[1]

    def submit(self, organization, dataset, script, script_version, model, model_version, container="shell:1", arguments=None):
        words = [word for name, value in (arguments or {}).items() for word in ("--args", f"{name}={value}")]
        return self.submitted(self.said(
            "train", "submit", "custom", "from-registry", "--org-id", organization, "--dataset-id", dataset, "--script-name",
            script, "--version", script_version, "--model-name", model, "--model-version", model_version,
            "--container-version", container, *words))

    def submit_managed(self, organization, dataset, model, model_version, model_type, tags):
        return self.submitted(self.said(
            "train", "submit", "managed", "--model-org-id", organization, "--dataset-id", dataset, "--model-name", model,
            "--model-version", model_version, "--model-type", model_type.lower(), "--model-framework", "tflite",
            "--model-labels", ",".join(tags)))

    def job(self, text):
        from google.protobuf import json_format, text_format
        return json_format.MessageToDict(text_format.Parse(text, self.message()))

    def get(self, id):
        return self.job(re.fullmatch(r"Training job: (.*)\n", self.said("train", "get", "--job-id", id))[1])

    def list(self, organization, status):
        from google.protobuf.descriptor import FieldDescriptor
        field: FieldDescriptor = self.message.DESCRIPTOR.fields_by_name["status"]
        name = field.enum_type.values_by_number[status].name.removeprefix("TRAINING_STATUS_").lower()
        said = self.said("train", "list", "--org-id", organization, "--job-status", name)
        return [self.job(text) for text in re.findall(r"^Training job: (.*)$", said, re.M)]

    def logs(self, id):
        said = self.said("train", "logs", "--job-id", id)
        return [{"time": found[1], "level": found[2], "message": found[3]} for found in
                re.finditer(r'^{"Timestamp": "([^"]*)", "Level": "([^"]*)", "Message": "(.*)"}$', said, re.M)]

    def cancel(self, id):
        assert self.said("train", "cancel", "--job-id", id) == f"Successfully sent cancellation request for training job {id}\n"

    def close(self):
        pass
