"""One round trip for every client that exists, against one Trainyard with short jobs: log in, submit, get, list, logs, cancel,
delete, containers, errors. What a client cannot do is left out of its trip and said in the table that ends the run."""
import json
import os
import subprocess
import sys
import time
import unittest

import stack
from foreign import driver

KINDS = stack.broker_kinds()
UNKNOWN = "00000000-0000-4000-8000-000000000000"
NEEDED = {"Python SDK": "TRAINYARD_WITHOUT_VIAM", "TypeScript SDK": "TRAINYARD_WITHOUT_NODE", "grpcurl": "TRAINYARD_WITHOUT_GRPCURL",
          "Viam CLI": "TRAINYARD_WITHOUT_VIAM_GO"}
TRAIN = """
i=0; while [ $i -lt 3 ]; do echo "epoch $i"; i=$((i + 1)); done
echo model > "$OUTPUT/model.txt"
"""
TABLE = []  # what each client did: (client, version, verbs that were seen, verbs that it lacks)
MISSING = []  # reasons why a client could not be had


def foreign(*words):
    """What a script under foreign/ prints: where it has put a client."""
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

    def start_keyed_responder(self):
        """One that wants a log-in, with HTTP for pages of all origins."""
        http = self.dir / "responder.http"
        self.start_responder("--auth", "keys", "--http-listen", "127.0.0.1:0", "--http-port-file", http, "--http-origin", "*")
        self.url = f"http://{http.read_text().strip()}"

    def another_responder(self, name, *flags, redis=None, kafka=None):
        """One beside the first, without a log-in; returns its address."""
        port_file = self.dir / f"{name}.port"
        process = stack.Process(name, self.dir, [
            stack.BUILD / "bin/trainyard-responder", "--listen", "127.0.0.1:0", "--port-file", port_file, "--redis",
            redis or self.redis.url, "--kafka-brokers", kafka or self.broker.address, "--catalog-dir", self.catalog, *flags])
        self.on_exit.callback(process.kill)
        stack.wait_until(port_file.exists, lambda: f"{name} listens:\n{process.tail()}")
        return port_file.read_text().strip()

    def tls_responder(self, *flags):
        """One with a certificate of its own making for localhost, which `cert` is then."""
        cert, key = self.dir / "tls.pem", self.dir / "tls.key"
        self.cert = cert
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", cert, "-keyout", key],
                       check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self.another_responder("tls", "--tls-cert", cert, "--tls-key", key, *flags)

    def key(self, organization=stack.ORGANIZATION, role="owner"):
        """A new key: what a client logs in with, once the responder knows it."""
        made = json.loads(self.cli("keys", "create", "--org", organization, "--role", role, "--json").stdout)
        words = {"server": self.server, "url": self.url, "key_id": made["id"], "key": made["secret"]}
        stack.wait_until(lambda: self.knows(words), "the responder knows the key")
        return words

    def knows(self, words):
        """Whether this key is taken already."""
        client = driver.Grpcio()
        try:
            client.open(**words)
            return True
        except driver.Refused:
            return False
        finally:
            client.close()


class Trip(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.yard = cls.enterClassContext(Yard(KINDS[0]))
        cls.yard.start_keyed_responder()
        cls.yard.start_worker("worker-1", "--slots", "2", "--grace-ms", "1000")
        cls.yard.wait_whole()
        cls.key = cls.yard.key()

    @classmethod
    def tls(cls):
        """host:port of gRPC and of HTTP of a responder over TLS that wants a log-in, too."""
        if not hasattr(cls, "tls_server"):
            http = cls.yard.dir / "tls.http"
            server = cls.yard.tls_responder("--auth", "keys", "--http-listen", "127.0.0.1:0", "--http-port-file", http)
            cls.tls_server, cls.tls_http = (f"localhost:{place.rpartition(':')[2]}" for place in (server, http.read_text().strip()))
            words = {**cls.key, "server": cls.tls_server, "cert": cls.yard.cert}
            stack.wait_until(lambda: cls.yard.knows(words), "the responder knows the key")
        return cls.tls_server, cls.tls_http

    def need(self, client):
        """Skips this client where it cannot be had; the suite ends as skipped then."""
        reason = os.environ.get(NEEDED[client])
        if reason:
            MISSING.append(reason)
            self.skipTest(reason)

    # ---- the trip

    def trip(self, client, lacks=(), **where):
        """The round trip of one client; `lacks` are the verbs that it is known not to have, `where` what of its address is another."""
        self.addCleanup(client.close)
        self.client, self.seen, self.lacks = client, [], tuple(lacks)
        self.address = {**self.key, **where}
        began = time.monotonic()
        self.log_in()
        self.containers()
        done = self.custom_job()
        self.managed_job()
        gone = self.canceled_job()
        self.delete(done, gone)
        self.errors()
        TABLE.append((client.name, client.version, self.seen, self.lacks))
        print(f"{client.name} {client.version}: {', '.join(self.seen)} in {time.monotonic() - began:.1f} s", flush=True)

    def log_in(self):
        with self.assertRaises(driver.Refused) as caught:
            self.client.call("open", **{**self.address, "key": "wrong"})
            self.client.call("list", organization=stack.ORGANIZATION, status=0)
        self.assertEqual(caught.exception.code, "UNAUTHENTICATED", caught.exception)
        self.call("open", **self.address)
        self.assertEqual(self.call("organizations"), [{"id": stack.ORGANIZATION, "name": stack.ORGANIZATION}])

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
        self.refused("submit", "INVALID_ARGUMENT", **self.job("train", "no/such"))


VERBS = ("open", "organizations", "containers", "submit", "submit_managed", "get", "list", "logs", "cancel", "delete")


def table():
    """What each client did, a line each."""
    width = max(len(f"{name} {version}") for name, version, _, _ in TABLE)
    return "".join(f"{name + ' ' + version:{width}}  {', '.join(verb for verb in VERBS if verb in seen)}"
                   f"{'; it has no ' + ', '.join(lacks) if lacks else ''}\n" for name, version, seen, lacks in sorted(TABLE))


def main(suite):
    program = unittest.main(verbosity=2, exit=False)
    if TABLE:
        stack.report(suite, table())
    if not program.result.wasSuccessful():
        sys.exit(1)
    if MISSING:
        stack.skip("; ".join(sorted(set(MISSING))))
