"""The clients that exist behind one face, so that one round trip can be asked of each: `call(verb, **words)` returns what the
client has said, as the proto3 JSON of Viam's messages, or raises `Refused` with the canonical name of the status, or
`Unsupported` where the client has no such call. Nothing of a client is written again here: each verb is one call of it.

Verbs: open (server, url, key_id, key), organizations, containers, submit, submit_managed, get, list, logs, cancel, delete.
"""
import contextlib
import http.server
import json
import pathlib
import queue
import shutil
import subprocess
import threading

HERE = pathlib.Path(__file__).resolve().parent
SERVICE = "viam.app.mltraining.v1.MLTrainingService"
DEADLINE_S = 60
# Statuses by number: what a program prints in place of a name.
STATUSES = ("OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED "
            "FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED").split()


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Unsupported(Exception):
    pass


def submit_body(job):
    """The request of `submit` as JSON; what a job has not is left out."""
    names = {"organization": "organizationId", "dataset": "datasetId", "script": "registryItemId", "model": "modelName",
             "script_version": "registryItemVersion", "model_version": "modelVersion", "container": "containerVersion",
             "arguments": "arguments", "model_type": "modelType", "tags": "tags"}
    body = {names[word]: value for word, value in job.items()}
    if "modelType" in body:
        body["modelType"] = "MODEL_TYPE_" + body["modelType"]
    return body


class Rpcs:
    """Verbs for the clients that take a method's name and a message as JSON: `invoke(service, method, body)` is theirs."""

    def call(self, verb, **words):
        return getattr(self, verb)(**words)

    def training(self, method, body):
        return self.invoke(SERVICE, method, body)

    def organizations(self):
        return self.invoke("viam.app.v1.AppService", "ListOrganizations", {}).get("organizations", [])

    def authenticate(self, key_id, key):
        return self.invoke("proto.rpc.v1.AuthService", "Authenticate",
                           {"entity": key_id, "credentials": {"type": "api-key", "payload": key}})["accessToken"]

    def containers(self):
        return self.training("ListSupportedContainers", {}).get("containerMap", {})

    def submit(self, **job):
        return self.training("SubmitCustomTrainingJob", submit_body(job))["id"]

    def submit_managed(self, **job):
        return self.training("SubmitTrainingJob", submit_body(job))["id"]

    def get(self, id):
        return self.training("GetTrainingJob", {"id": id})["metadata"]

    def list(self, organization, status):
        return self.training("ListTrainingJobs", {"organizationId": organization, "status": status}).get("jobs", [])

    def logs(self, id):
        entries, token = [], ""
        while True:
            page = self.training("GetTrainingJobLogs", {"id": id, "pageToken": token})
            entries += page.get("logs", [])
            token = page.get("nextPageToken", "")
            if not token:
                return entries

    def cancel(self, id):
        assert self.training("CancelTrainingJob", {"id": id}) == {}

    def delete(self, id):
        assert self.training("DeleteCompletedTrainingJob", {"id": id}) == {}

    def close(self):
        pass


class Grpcio(Rpcs):
    """Code that Google's compiler made of our protos."""
    name = "grpcio"

    def __init__(self):
        import grpc
        from google.protobuf import descriptor_pool
        self.grpc, self.pool, self.version, self.metadata = grpc, descriptor_pool.Default(), grpc.__version__, []

    def open(self, server, key_id=None, key=None, cert=None, **_):
        """`cert` is a file with the certificate of a server that speaks TLS."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = self.grpc.insecure_channel(server, options) if cert is None else self.grpc.secure_channel(
            server, self.grpc.ssl_channel_credentials(cert.read_bytes()), options)
        self.metadata = []
        if key is not None:
            self.metadata = [("authorization", "Bearer " + self.authenticate(key_id, key))]

    def invoke(self, service, method, body):
        from google.protobuf import json_format
        from google.protobuf.message_factory import GetMessageClass
        described = self.pool.FindServiceByName(service).FindMethodByName(method)
        request = json_format.ParseDict(body, GetMessageClass(described.input_type)())
        stub = self.channel.unary_unary(f"/{service}/{method}", request_serializer=lambda message: message.SerializeToString(),
                                        response_deserializer=GetMessageClass(described.output_type).FromString)
        try:
            return json_format.MessageToDict(stub(request, timeout=DEADLINE_S, metadata=self.metadata))
        except self.grpc.RpcError as error:
            raise Refused(error.code().name, error.details()) from None

    def close(self):
        self.channel.close()


def run(words, **more):
    return subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S, **more)


class Grpcurl(Rpcs):
    """What it knows of the messages it has from the server, by reflection."""
    name = "grpcurl"

    def __init__(self, program):
        self.program = program
        self.version = run([program, "-version"]).stderr.split()[-1]
        self.headers = []

    def open(self, server, key_id=None, key=None, **_):
        self.server, self.headers = server, []
        if key is not None:
            self.headers = ["-H", "authorization: Bearer " + self.authenticate(key_id, key)]

    def invoke(self, service, method, body):
        done = run([self.program, "-plaintext", "-format-error", *self.headers, "-d", json.dumps(body), self.server,
                    f"{service}/{method}"])
        if done.returncode >= 64:  # 64 and the status
            raise Refused(STATUSES[done.returncode - 64], json.loads(done.stderr)["message"])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class Curl(Rpcs):
    """JSON over HTTP: Connect's unary calls."""
    name = "curl"

    def __init__(self):
        self.version = run(["curl", "--version"]).stdout.split()[1]
        self.headers = []

    def open(self, url, key_id=None, key=None, **_):
        self.url, self.headers = url, []
        if key is not None:
            self.headers = ["-H", "authorization: Bearer " + self.authenticate(key_id, key)]

    def invoke(self, service, method, body):
        done = run(["curl", "-sS", "-w", "\n%{http_code}", *self.headers, "-H", "content-type: application/json", "-d",
                    json.dumps(body), f"{self.url}/{service}/{method}"])
        assert done.returncode == 0, done.stderr
        text, _, status = done.stdout.rpartition("\n")
        said = json.loads(text)
        if status != "200":
            raise Refused(said["code"].upper().replace("CANCELED", "CANCELLED"), said.get("message", ""))
        return said


class Spoken:
    """Clients in other languages: a request and an answer are each a line of JSON, {"call": verb, ...words} and
    {"ok": value}, {"error": {"code", "message"}} or {"unsupported": why}."""

    def call(self, verb, **words):
        said = self.ask({"call": verb, **words})
        if "unsupported" in said:
            raise Unsupported(said["unsupported"])
        if "error" in said:
            raise Refused(said["error"]["code"], said["error"]["message"])
        return said["ok"]


class Program(Spoken):
    """One over stdin and stdout."""

    def __init__(self, name, version, command, log, env=None):
        self.name, self.version = name, version
        self.log = open(log, "wb")
        self.child = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=self.log, text=True, bufsize=1, env=env)

    def ask(self, request):
        self.child.stdin.write(json.dumps(request) + "\n")
        self.child.stdin.flush()
        timer = threading.Timer(DEADLINE_S, self.child.kill)
        timer.start()
        line = self.child.stdout.readline()
        timer.cancel()
        if not line:
            raise AssertionError(f"{self.name} has ended on {request['call']}:\n{pathlib.Path(self.log.name).read_text()}")
        return json.loads(line)

    def close(self):
        self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()
        self.log.close()


class Browser(Spoken):
    """Chromium without a window, on a page of an origin of its own: the API is at another, so that CORS has its say. The page
    asks this side for its next request."""
    name = "Chromium"

    def __init__(self, modules, directory):
        self.requests, self.answers = queue.Queue(), queue.Queue()
        files = {"/": (HERE / "node/page.html", "text/html"), "/sdk.mjs": (HERE / "node/sdk.mjs", "text/javascript"),
                 "/sdk.js": (pathlib.Path(modules) / "@viamrobotics/sdk/dist/main.es.js", "text/javascript")}
        browser = self

        class Page(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self, status, kind, body):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                path, kind = files.get(self.path, (None, None))
                self.reply(200, kind, path.read_bytes()) if path else self.reply(404, "text/plain", b"")

            def do_POST(self):
                browser.answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                request = browser.requests.get()
                if request is None:
                    self.reply(410, "text/plain", b"")
                else:
                    self.reply(200, "application/json", json.dumps(request).encode())

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.profile = directory / "chromium"
        self.log = open(directory / "chromium.log", "wb")
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.child = subprocess.Popen([
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", f"--user-data-dir={self.profile}",
            self.origin + "/"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.version = run(["chromium", "--version"]).stdout.split()[1]
        self.answer()  # the page is there

    def answer(self):
        with contextlib.suppress(queue.Empty):
            return self.answers.get(timeout=DEADLINE_S)
        raise AssertionError(f"no answer from Chromium:\n{pathlib.Path(self.log.name).read_text(errors='replace')[-3000:]}")

    def ask(self, request):
        self.requests.put(request)
        return self.answer()

    def close(self):
        self.requests.put(None)
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.server.shutdown()
        self.server.server_close()
        self.log.close()
        shutil.rmtree(self.profile, ignore_errors=True)
