"""A few lines of Redis's protocol, with many commands in one write, for what the harness asks of the store."""
import socket


def _read(reader):
    line = reader.readline()
    if not line.endswith(b"\r\n"):
        raise OSError("Redis closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest
    if kind == b"-":
        raise OSError(f"Redis: {rest.decode(errors='replace')}")
    if kind == b":":
        return int(rest)
    size = int(rest)
    if size < 0:
        return None
    if kind == b"$":
        return reader.read(size + 2)[:-2]
    return [_read(reader) for _ in range(size)]


def _bytes(word):
    return word if isinstance(word, bytes) else str(word).encode()


def ask_all(port, commands, seconds=10):
    """The answers to the commands, in order."""
    lines = []
    for words in commands:
        words = [_bytes(word) for word in words]
        lines.append(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    with socket.create_connection(("127.0.0.1", port), seconds) as line:
        line.sendall(b"".join(lines))
        reader = line.makefile("rb")
        return [_read(reader) for _ in commands]


def ask(port, *words, seconds=10):
    return ask_all(port, [words], seconds)[0]


def table(port, key):
    """A hash as {name: value}."""
    flat = ask(port, "HGETALL", key)
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}
