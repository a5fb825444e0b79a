"""Certificates for one test, made by the openssl program: an authority, and what it signs."""
import pathlib
import subprocess


def openssl(*words, **more):
    return subprocess.run(["openssl", *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", timeout=60, **more)


def _must(*words):
    done = openssl(*words)
    if done.returncode:
        raise AssertionError(f"openssl {words}: {done.stdout}")


class Authority:
    def __init__(self, directory, name="authority"):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(exist_ok=True)
        self.cert, self.key = self.dir / f"{name}.pem", self.dir / f"{name}.key"
        _must("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj",
              f"/CN={name}", "-keyout", self.key, "-out", self.cert)

    def issue(self, name, subject=None, days=30):
        """A certificate for loopback and its key: (cert, key)."""
        cert, key, request = (self.dir / f"{name}.{ending}" for ending in ("pem", "key", "csr"))
        names = self.dir / f"{name}.ext"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        _must("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
              f"/CN={subject or name}", "-keyout", key, "-out", request)
        _must("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", str(days),
              "-extfile", names, "-out", cert)
        return cert, key
