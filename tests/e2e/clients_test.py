"""The clients that exist, unchanged, each through the whole round trip of foreign/trip.py; those that take minutes to build are
in clients_long_test.py."""
import json
import os

import stack
from foreign import driver, trip


class Clients(trip.Trip):
    def test_grpcio(self):
        self.trip(driver.Grpcio())

    def test_grpcurl(self):
        self.need("grpcurl")
        self.trip(driver.Grpcurl(trip.foreign("go/build", "grpcurl") + "/grpcurl"))

    def python(self, name, **where):
        self.need("Python SDK")
        python = trip.foreign("venv", "viam")
        version = driver.run([python, "-c", "import importlib.metadata as m; print(m.version('viam-sdk'))"]).stdout.strip()
        self.trip(driver.Program(name, version, [python, stack.HERE / "foreign/viam_sdk.py"], self.yard.dir / "viam_sdk.log"),
                  lacks=("containers", "logs"), **where)

    def test_python_sdk(self):
        self.python("Python SDK")

    def test_python_sdk_over_tls(self):
        self.python("Python SDK, TLS", server=self.tls()[0], secure=True)

    def test_curl(self):
        self.trip(driver.Curl())

    def node(self, transport, url, name="TypeScript SDK", **env):
        self.need("TypeScript SDK")
        modules = trip.foreign("npm")
        with open(f"{modules}/@viamrobotics/sdk/package.json") as file:
            version = json.load(file)["version"]
        self.trip(driver.Program(f"{name} {transport}", version, ["node", stack.HERE / "foreign/node/main.mjs", modules, transport],
                                 self.yard.dir / "node.log", {**os.environ, **env}),
                  lacks=("containers", "logs"), url=url)

    def test_typescript_sdk_native(self):
        self.node("grpc", f"http://{self.yard.server}")

    def test_typescript_sdk_over_tls(self):
        for transport, place in zip(("grpc", "grpc-web"), self.tls()):
            self.node(transport, f"https://{place}", "TypeScript SDK, TLS,", NODE_EXTRA_CA_CERTS=str(self.yard.cert))

    def test_typescript_sdk_grpc_web(self):
        self.node("grpc-web", self.yard.url)

    def test_chromium(self):
        self.need("TypeScript SDK")
        self.trip(driver.Browser(trip.foreign("npm"), self.yard.dir), lacks=("containers", "logs"))


if __name__ == "__main__":
    trip.main("clients")
