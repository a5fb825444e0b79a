#!/usr/bin/env python3
"""Holds the compiled protos against proto/golden.txt, which says what every message and service means on the wire.

usage: golden.py check DESCRIPTORS GOLDEN    exit 1 where they differ, with one line per difference
       golden.py add DESCRIPTORS GOLDEN      puts what is new into GOLDEN; refuses where something changed or is gone
       golden.py print DESCRIPTORS           the lines of the compiled protos

The build runs `check`; `cmake --build build/dev --target proto_golden` runs `add`, and its result is committed together with
the change of the .proto file. A field that changes its number, name, type or label, or goes away, breaks programs and
records that exist: there is no option for that. Where it must be all the same (a message that nobody uses yet), edit
GOLDEN by hand and say why in the commit; a field that goes away leaves its number and name reserved."""
import sys

TYPES = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool", 9: "string",
         10: "group", 11: "message", 12: "bytes", 13: "uint32", 14: "enum", 15: "sfixed32", 16: "sfixed64", 17: "sint32",
         18: "sint64"}
LABELS = {1: "single", 2: "required", 3: "repeated"}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def message(data):
    """The fields of a serialized message: number -> list of values (int or bytes). Enough for descriptor.proto."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        elif tag & 7 in (1, 5):
            size = 8 if tag & 7 == 1 else 4
            value, at = data[at:at + size], at + size
        else:
            raise ValueError("not a descriptor set")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def text(fields, number):
    return fields.get(number, [b""])[-1].decode()


def number(fields, key, default=0):
    value = fields.get(key, [default])[-1]
    return value - (1 << 64) if value >= 1 << 63 else value


def entry_types(nested):
    """The map entries among nested messages: name -> "map<key, value>"."""
    maps = {}
    for raw in nested:
        entry = message(raw)
        options = message(entry.get(7, [b""])[-1])
        if number(options, 7):
            parts = [field_type(message(field)) for field in entry[2]]
            maps[text(entry, 1)] = f"map<{parts[0]}, {parts[1]}>"
    return maps


def field_type(field):
    return text(field, 6).lstrip(".") or TYPES[number(field, 5)]


def field_label(field, oneofs):
    if 9 not in field:
        return LABELS[number(field, 4)]
    oneof = oneofs[number(field, 9)]
    # How proto3 itself spells `optional`; protoc-c knows no other way.
    return "optional" if oneof == "_" + text(field, 1) else f"oneof {oneof}"


def message_lines(raw, scope):
    fields = message(raw)
    name = f"{scope}.{text(fields, 1)}"
    maps = entry_types(fields.get(3, []))
    oneofs = [text(message(oneof), 1) for oneof in fields.get(8, [])]
    yield f"message\t{name}"
    for field in map(message, fields.get(2, [])):
        kind, label = field_type(field), field_label(field, oneofs)
        if kind.startswith(name + ".") and kind[len(name) + 1:] in maps:
            kind, label = maps[kind[len(name) + 1:]], "map"
        yield f"field\t{name}\t{number(field, 3)}\t{text(field, 1)}\t{kind}\t{label}"
    for span in map(message, fields.get(9, [])):
        for reserved in range(number(span, 1), number(span, 2)):
            yield f"reserved\t{name}\t{reserved}"
    for reserved in fields.get(10, []):
        yield f"reserved\t{name}\t{reserved.decode()}"
    for nested in fields.get(3, []):
        if text(message(nested), 1) not in maps:
            yield from message_lines(nested, name)
    for nested in fields.get(4, []):
        yield from enum_lines(nested, name)


def enum_lines(raw, scope):
    fields = message(raw)
    name = f"{scope}.{text(fields, 1)}"
    yield f"enum\t{name}"
    for value in map(message, fields.get(2, [])):
        yield f"value\t{name}\t{number(value, 2)}\t{text(value, 1)}"
    for span in map(message, fields.get(4, [])):
        for reserved in range(number(span, 1), number(span, 2) + 1):
            yield f"reserved\t{name}\t{reserved}"


def service_lines(raw, scope):
    fields = message(raw)
    name = f"{scope}.{text(fields, 1)}"
    yield f"service\t{name}"
    for method in map(message, fields.get(2, [])):
        streams = {(0, 0): "unary", (1, 0): "client stream", (0, 1): "server stream", (1, 1): "both stream"}
        way = streams[bool(number(method, 5)), bool(number(method, 6))]
        types = "\t".join(text(method, key).lstrip(".") for key in (2, 3))
        yield f"method\t{name}\t{text(method, 1)}\t{types}\t{way}"


def all_lines(path):
    with open(path, "rb") as file:
        for raw in message(file.read()).get(1, []):
            fields = message(raw)
            for key, lines in ((4, message_lines), (5, enum_lines), (6, service_lines)):
                for member in fields.get(key, []):
                    yield from lines(member, text(fields, 2))


def identity(line):
    """What a line is about, so that a change can be told from a removal and an addition."""
    parts = line.split("\t")
    return tuple(parts[:2] if parts[0] in ("message", "enum", "service") else parts[:3])


def compare(now, golden):
    """Two lists of texts: what breaks, and what is new."""
    current = {identity(line): line for line in now}
    broken = []
    for line in golden:
        other = current.get(identity(line))
        if other is None:
            broken.append("gone: " + line.replace("\t", " "))
        elif other != line:
            broken.append("changed: " + line.replace("\t", " ") + "  ->  " + other.replace("\t", " "))
    known = {identity(line) for line in golden}
    fresh = [line for line in now if identity(line) not in known]
    # A field of another number but an old name is a change of the number, whatever it looks like.
    names = {tuple(line.split("\t")[1:4:2]) for line in golden if line.startswith(("field", "value"))}
    for line in fresh:
        if line.startswith(("field", "value")) and tuple(line.split("\t")[1:4:2]) in names:
            broken.append("name taken: " + line.replace("\t", " "))
    return broken, fresh


def read_golden(path):
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file if line.strip() and not line.startswith("#")]


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "print":
        print("\n".join(all_lines(arguments[1])))
        return 0
    if len(arguments) != 3 or arguments[0] not in ("check", "add"):
        print(__doc__)
        return 0 if arguments in (["--help"], ["-h"]) else 2
    verb, descriptors, path = arguments
    now, golden = list(all_lines(descriptors)), read_golden(path)
    broken, fresh = compare(now, golden)
    for line in broken:
        print(f"{path}: {line}", file=sys.stderr)
    if broken:
        print(f"{path}: the protos break what exists (proto/golden.py --help)", file=sys.stderr)
        return 1
    if verb == "check":
        for line in fresh:
            print(f"{path}: new: " + line.replace("\t", " "), file=sys.stderr)
        if fresh:
            print(f"{path}: add what is new with --target proto_golden, and commit it", file=sys.stderr)
        return 1 if fresh else 0
    with open(path, encoding="utf-8") as file:
        head = [line for line in file if line.startswith("#")]
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(head)
        file.writelines(line + "\n" for line in now)
    print(f"{path}: {len(fresh)} lines added")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
