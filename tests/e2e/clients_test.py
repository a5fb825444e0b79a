"""The clients that exist, unchanged, each through the whole round trip of foreign/trip.py; those that take minutes to build are
in clients_long_test.py."""
import json

import stack
from foreign import driver, trip


class Clients(trip.Trip):
    def test_grpcio(self):
        self.trip(driver.Grpcio())

    def test_grpcurl(self):
        self.need("grpcurl")
        self.trip(driver.Grpcurl(trip.foreign("go/build", "grpcurl") + "/grpcurl"))

    def test_python_sdk(self):
        self.need("Python SDK")
        python = trip.foreign("venv", "viam")
        version = driver.run([python, "-c", "import importlib.metadata as m; print(m.version('viam-sdk'))"]).stdout.strip()
        self.trip(driver.Program("Python SDK", version, [python, stack.HERE / "foreign/viam_sdk.py"], self.yard.dir / "viam_sdk.log"),
                  lacks=("containers", "logs"))

    @stack.needs("--http-listen")
    def test_curl(self):
        self.trip(driver.Curl())

    def node(self, transport, url):
        self.need("TypeScript SDK")
        modules = trip.foreign("npm")
        with open(f"{modules}/@viamrobotics/sdk/package.json") as file:
            version = json.load(file)["version"]
        self.trip(driver.Program(f"TypeScript SDK {transport}", version,
                                 ["node", stack.HERE / "foreign/node/main.mjs", modules, transport], self.yard.dir / "node.log"),
                  lacks=("containers", "logs"), url=url)

    def test_typescript_sdk_native(self):
        self.node("grpc", f"http://{self.yard.server}")

    @stack.needs("--http-listen")
    def test_typescript_sdk_grpc_web(self):
        self.node("grpc-web", self.yard.url)

    @stack.needs("--http-listen")
    def test_chromium(self):
        self.need("TypeScript SDK")
        self.trip(driver.Browser(trip.foreign("npm"), self.yard.dir), lacks=("containers", "logs"))


if __name__ == "__main__":
    trip.main("clients")
