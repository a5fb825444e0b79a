"""HTTP/2 by hand, for what no client library sends: frames and literal headers as RFC 9113 and RFC 7541 have them."""
import os
import socket
import struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INITIAL_WINDOW_SIZE, MAX_FRAME = 4, 16384


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _number(value, bits, first):
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    out, value = [first | limit], value - limit
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + [value])


def header(name, value, indexed=False):
    """Literal, without Huffman; indexed: the peer keeps it in its table."""
    name, value = (part if isinstance(part, bytes) else part.encode() for part in (name, value))
    return (b"\x40" if indexed else b"\0") + _number(len(name), 7, 0) + name + _number(len(value), 7, 0) + value


def call_headers(path, **more):
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "attack", "content-type": "application/grpc", "te": "trailers",
              **{name.replace("_", "-"): value for name, value in more.items()}}
    return b"".join(header(name, value) for name, value in fields.items() if value is not None)


def message(body, compressed=0, length=None):
    return struct.pack(">BI", compressed, len(body) if length is None else length) + body


class Connection:
    """One connection that has said hello, and reads only when it is told to."""

    def __init__(self, address, settings=b"", seconds=10, receive_buffer=None):
        host, port = address.rsplit(":", 1)
        self.line = socket.socket()
        if receive_buffer:
            self.line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.line.settimeout(seconds)
        self.line.connect((host, int(port)))
        self.stream = -1
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        """False: the server has closed the connection, or takes nothing more."""
        try:
            self.line.sendall(data)
            return True
        except OSError:
            return False

    def next_stream(self):
        self.stream += 2
        return self.stream

    def call(self, path, body, **more):
        """A whole unary call; its answer is for `frames`."""
        stream = self.next_stream()
        return self.send(frame(HEADERS, END_HEADERS, stream, call_headers(path, **more)) + self._data(stream, body))

    @staticmethod
    def _data(stream, body):
        parts = [body[at:at + MAX_FRAME] for at in range(0, len(body), MAX_FRAME)] or [b""]
        return b"".join(frame(DATA, END_STREAM if at == len(parts) - 1 else 0, stream, part) for at, part in enumerate(parts))

    def frames(self, wanted=None, limit=10000):
        """(kind, flags, stream, payload) of what comes, until the connection ends, nothing comes in time, or wanted says so."""
        buffer = b""
        found = []
        while len(found) < limit:
            while len(buffer) < 9 or len(buffer) < 9 + int.from_bytes(buffer[:3], "big"):
                try:
                    got = self.line.recv(65536)
                except OSError:
                    return found
                if not got:
                    return found
                buffer += got
            size = int.from_bytes(buffer[:3], "big")
            kind, flags, stream = struct.unpack(">BBI", buffer[3:9])
            found.append((kind, flags, stream, buffer[9:9 + size]))
            buffer = buffer[9 + size:]
            if wanted and wanted(*found[-1]):
                return found
        return found

    def is_closed(self, seconds):
        """Whether the server ends the connection in that time, whatever it says before."""
        self.line.settimeout(seconds)
        try:
            while self.line.recv(65536):
                pass
            return True
        except TimeoutError:
            return False
        except OSError:
            return True

    def close(self):
        self.line.close()


def mutate(random, data):
    """Some bytes of it changed, taken out, doubled, or put in."""
    data = bytearray(data or os.urandom(8))
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(data) + 1)
        choice = random.randrange(5)
        if choice == 0 and at < len(data):
            data[at] = random.randrange(256)
        elif choice == 1 and at < len(data):
            data[at] ^= 1 << random.randrange(8)
        elif choice == 2:
            del data[at:at + random.randrange(1, 9)]
        elif choice == 3:
            data[at:at] = data[at:at + random.randrange(1, 64)]
        else:
            data[at:at] = bytes(random.randrange(256) for _ in range(random.randrange(1, 9)))
    return bytes(data)
