"""The clients that exist, unchanged, each through the whole round trip against one Trainyard: foreign/driver.py has them behind
one face. What a client cannot do is left out of its trip and said in the table that ends the run."""
import json
import os
import sys
import time
import unittest

import stack
from foreign import driver

KINDS = stack.broker_kinds()
UNKNOWN = "00000000-0000-4000-8000-000000000000"
NEEDED = {"Python SDK": "TRAINYARD_WITHOUT_VIAM", "TypeScript SDK": "TRAINYARD_WITHOUT_NODE", "grpcurl": "TRAINYARD_WITHOUT_GRPCURL"}
TRAIN = """
i=0; while [ $i -lt 3 ]; do echo "epoch $i"; i=$((i + 1)); done
echo model > "$OUTPUT/model.txt"
"""
TABLE = []  # what each client did: (client, version, verbs that were seen, verbs that it lacks)
MISSING = []  # reasons why a client could not be had


def foreign(*words):
    """What a script under foreign/ prints: where it has put a client."""
    import subprocess
    return subprocess.run([stack.HERE / "foreign" / words[0], *words[1:]], stdout=subprocess.PIPE, text=True, check=True,
                          stdin=subprocess.DEVNULL).stdout.strip()


class Yard(stack.Stack):
    """With short jobs also for those clients that cannot name a container, and for managed ones."""

    def __init__(self, broker):
        super().__init__(broker)
        containers = json.loads((self.catalog / "containers.json").read_text())
        containers["default"] = "shell:1"
        (self.catalog / "containers.json").write_text(json.dumps(containers))
        (self.catalog / "trainers.json").write_text(json.dumps({"format": 1, "trainers": [{
            "model_type": "MODEL_TYPE_SINGLE_LABEL_CLASSIFICATION", "model_framework": "MODEL_FRAMEWORK_TFLITE", "default": True,
            "script": "test:train", "script_version": "", "container": "shell:1", "description": "a shell script"}]}))
        self.script("train", TRAIN)
        self.script("sleeper", "echo started; exec sleep 600")


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(Yard(KINDS[0]))
        cls.yard.start_responder()
        cls.yard.start_worker("worker-1", "--slots", "2", "--grace-ms", "1000")

    def need(self, client):
        """Skips this client where it cannot be had; the suite ends as skipped then."""
        reason = os.environ.get(NEEDED[client])
        if reason:
            MISSING.append(reason)
            self.skipTest(reason)

    # ---- the trip

    def trip(self, client, lacks=()):
        """The round trip of one client; `lacks` are the verbs that it is known not to have."""
        self.addCleanup(client.close)
        self.client, self.seen, self.lacks = client, [], tuple(lacks)
        began = time.monotonic()
        client.call("open", **self.address())
        self.containers()
        done = self.custom_job()
        self.managed_job()
        gone = self.canceled_job()
        self.delete(done, gone)
        self.errors()
        TABLE.append((client.name, client.version, self.seen, self.lacks))
        print(f"{client.name} {client.version}: {', '.join(self.seen)} in {time.monotonic() - began:.1f} s", flush=True)

    def address(self):
        return {"server": self.yard.server, "url": f"http://{self.yard.server}", "token": "any"}

    def call(self, verb, **words):
        """The answer, or None where the client has no such call."""
        if verb in self.lacks:
            with self.assertRaises(driver.Unsupported, msg=f"{self.client.name} has {verb} by now"):
                self.client.call(verb, **words)
            return None
        said = self.client.call(verb, **words)
        if verb not in self.seen:
            self.seen.append(verb)
        return said

    def refused(self, verb, code, **words):
        with self.assertRaises(driver.Refused) as caught:
            self.client.call(verb, **words)
        self.assertEqual(caught.exception.code, code, caught.exception)
        self.assertTrue(caught.exception.message)
        self.assertNotIn("%", caught.exception.message)

    def job(self, script, model, **more):
        return {"organization": stack.ORGANIZATION, "dataset": "empty-set", "script": f"test:{script}", "script_version": "1",
                "model": f"{self.client.name}-{model}".replace(" ", "-"), "model_version": "1", **more}

    def wait(self, id, *wanted):
        last = [None]

        def check():
            last[0] = self.call("get", id=id)
            return last[0] if last[0].get("status") in wanted else None
        return stack.wait_until(check, lambda: f"{id} is {wanted}, but: {last[0]}")

    def listed(self, status):
        return [job["id"] for job in self.call("list", organization=stack.ORGANIZATION, status=status)]

    def containers(self):
        containers = self.call("containers")
        if containers is not None:
            self.assertIn("shell:1", containers)
            for key, container in containers.items():
                self.assertEqual(container["key"], key)

    def custom_job(self):
        request = self.job("train", "custom")
        id = self.call("submit", **request)
        self.assertEqual(self.call("get", id=id)["id"], id)  # at once
        job = self.wait(id, "TRAINING_STATUS_COMPLETED")
        told = {"datasetId": request["dataset"], "organizationId": request["organization"], "modelName": request["model"],
                "modelVersion": "1", "registryItemId": "test:train", "registryItemVersion": "1", "isCustomJob": True}
        self.assertEqual({name: job.get(name) for name in told}, told)
        for moment in ("createdOn", "lastModified", "trainingStarted", "trainingEnded"):
            self.assertIn(moment, job)
        self.assertNotIn("errorStatus", job)
        self.assertIn(id, self.listed(0))
        self.assertIn(id, self.listed(stack.COMPLETED))
        self.assertNotIn(id, self.listed(stack.CANCELED))
        entries = self.call("logs", id=id)
        if entries is not None:
            lines = [entry["message"] for entry in entries]
            self.assertEqual([line for line in lines if line.startswith("epoch ")], ["epoch 0", "epoch 1", "epoch 2"])
            self.assertTrue(all(entry["level"] and entry["time"] for entry in entries))
        return id

    def managed_job(self):
        request = self.job("train", "managed", model_type="SINGLE_LABEL_CLASSIFICATION", tags=["cat", "dog"])
        for word in ("script", "script_version"):
            request.pop(word)
        id = self.call("submit_managed", **request)
        if id is not None:
            job = self.wait(id, "TRAINING_STATUS_COMPLETED")
            self.assertEqual((job["modelType"], job["modelFramework"], job["tags"], job.get("isCustomJob", False)),
                             ("MODEL_TYPE_SINGLE_LABEL_CLASSIFICATION", "MODEL_FRAMEWORK_TFLITE", ["cat", "dog"], False))

    def canceled_job(self):
        id = self.call("submit", **self.job("sleeper", "canceled"))
        self.wait(id, "TRAINING_STATUS_IN_PROGRESS")
        self.call("cancel", id=id)
        self.wait(id, "TRAINING_STATUS_CANCELED")
        self.assertIn(id, self.listed(stack.CANCELED))
        return id

    def delete(self, *ids):
        if "delete" in self.lacks:
            return self.call("delete", id=ids[0])
        for id in ids:
            self.call("delete", id=id)
            self.refused("get", "NOT_FOUND", id=id)
            self.assertNotIn(id, self.listed(0))

    def errors(self):
        for verb in ("get", "cancel", "delete", "logs"):
            if verb not in self.lacks:
                self.refused(verb, "NOT_FOUND", id=UNKNOWN)
        self.refused("submit", "INVALID_ARGUMENT", **self.job("no:such:form", "refused"))

    # ---- the clients

    def test_grpcio(self):
        from google.protobuf import descriptor_pool
        self.trip(driver.Grpcio(descriptor_pool.Default()))

    def test_grpcurl(self):
        self.need("grpcurl")
        self.trip(driver.Grpcurl(foreign("go/build", "grpcurl") + "/grpcurl"))

    def test_python_sdk(self):
        self.need("Python SDK")
        python = foreign("venv", "viam")
        version = driver.run([python, "-c", "import importlib.metadata as m; print(m.version('viam-sdk'))"]).stdout.strip()
        self.trip(driver.Program("Python SDK", version, [python, stack.HERE / "foreign/viam_sdk.py"], self.yard.dir / "viam_sdk.log"),
                  lacks=("containers", "logs"))

    def node(self, transport):
        self.need("TypeScript SDK")
        modules = foreign("npm")
        with open(f"{modules}/@viamrobotics/sdk/package.json") as file:
            version = json.load(file)["version"]
        self.trip(driver.Program(f"TypeScript SDK {transport}", version,
                                 ["node", stack.HERE / "foreign/node/main.mjs", modules, transport], self.yard.dir / "node.log"),
                  lacks=("containers", "logs"))

    def test_typescript_sdk_native(self):
        self.node("grpc")


def main():
    program = unittest.main(verbosity=2, exit=False)
    if not program.result.wasSuccessful():
        sys.exit(1)
    for reason in sorted(set(MISSING)):
        print(f"skipped: {reason}")
    sys.exit(stack.SKIPPED if MISSING else 0)


if __name__ == "__main__":
    main()
