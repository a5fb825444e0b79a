#!/usr/bin/python3
"""core/message_json against Google's own JSON conversion (python3-protobuf): random messages of every type of proto/ and of one
that has every kind of field, both ways; texts that are nearly right are taken or refused by both alike.

usage: message_json_test.py CONVERT DESCRIPTORS... (the program of convert.c; descriptor sets)
environment: TRAINYARD_JSON_SEED, TRAINYARD_JSON_ROUNDS"""
import base64
import json
import math
import os
import random
import struct
import subprocess
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor as F

CONVERT, *SETS = sys.argv[1:]
SEED = int(os.environ.get("TRAINYARD_JSON_SEED", random.randrange(1 << 32)))
ROUNDS = int(os.environ.get("TRAINYARD_JSON_ROUNDS", 5))
rng = random.Random(SEED)


class Ours:
    def __init__(self):
        self.child = subprocess.Popen([CONVERT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, verb, name, data=b""):
        self.child.stdin.write(f"{verb} {name} {len(data)}\n".encode() + data)
        self.child.stdin.flush()
        word, size = self.child.stdout.readline().split()
        answer = self.child.stdout.read(int(size))
        return word == b"ok", answer


pool = descriptor_pool.DescriptorPool()
seen = set()
for path in SETS:
    with open(path, "rb") as file:
        for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
            if proto.name not in seen:
                pool.AddSerializedFile(proto.SerializeToString())
                seen.add(proto.name)
ours = Ours()


def message_class(name):
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(name))


TYPES = [name for name in ours.ask("types", "-")[1].decode().split()
         if not pool.FindMessageTypeByName(name).GetOptions().map_entry]
IN_ANY = [name for name in TYPES if name not in ("trainyard.test.Kinds", "google.protobuf.Any")]

# ---- random messages ----

INTS = {F.TYPE_INT32: (-1 << 31, (1 << 31) - 1), F.TYPE_SINT32: (-1 << 31, (1 << 31) - 1),
        F.TYPE_SFIXED32: (-1 << 31, (1 << 31) - 1), F.TYPE_INT64: (-1 << 63, (1 << 63) - 1),
        F.TYPE_SINT64: (-1 << 63, (1 << 63) - 1), F.TYPE_SFIXED64: (-1 << 63, (1 << 63) - 1),
        F.TYPE_UINT32: (0, (1 << 32) - 1), F.TYPE_FIXED32: (0, (1 << 32) - 1),
        F.TYPE_UINT64: (0, (1 << 64) - 1), F.TYPE_FIXED64: (0, (1 << 64) - 1)}


def text():
    alphabet = rng.choice(["abc", "äß€\U0001f600", "\"\\/\n\t\r\x01\x1f\x7f", "%s<&>'", "\u2028\ufeff", " "])
    return "".join(rng.choice(alphabet) for _ in range(rng.choice([0, 1, 3, 40])))


def real(single):
    if single:  # Google's Python writes floats with eight digits, which not every float survives
        value = rng.choice([0.0, -0.0, 1.5, 0.1, -2.5e-7, 1e15, float("inf"), float("-inf"), float("nan"), rng.randrange(99999) / 8])
        return struct.unpack("<f", struct.pack("<f", value))[0]
    return rng.choice([0.0, -0.0, 1.5, -1e-7, 0.1, 1e15, 1e16, 123456789.0, float("inf"), float("-inf"), float("nan"),
                       rng.uniform(-1e6, 1e6), struct.unpack("<d", rng.randbytes(8))[0], 5e-324, 1.7976931348623157e308])


def scalar(field):
    kind = field.type
    if kind in INTS:
        low, high = INTS[kind]
        return rng.choice([0, 1, low, high, rng.randint(low, high), max(low, -1)])
    if kind == F.TYPE_BOOL:
        return rng.random() < 0.5
    if kind == F.TYPE_ENUM:
        return rng.choice([value.number for value in field.enum_type.values] + [77, -3])
    if kind == F.TYPE_STRING:
        return text()
    if kind == F.TYPE_BYTES:
        return rng.randbytes(rng.choice([0, 1, 2, 3, 4, 50]))
    return real(kind == F.TYPE_FLOAT)


def fill(message, depth=0):
    kind = message.DESCRIPTOR.full_name
    if kind == "google.protobuf.Timestamp":
        message.seconds = rng.choice([0, 1, -1, -62135596800, 253402300799, rng.randint(-62135596800, 253402300799)])
        message.nanos = rng.choice([0, 1, 5000, 7000000, 999999999, rng.randrange(10 ** 9)])
        return
    if kind == "google.protobuf.Any":
        if rng.random() < 0.8 and depth < 4:
            name = rng.choice(IN_ANY)
            inner = message_class(name)()
            fill(inner, depth + 1)
            message.type_url = "type.googleapis.com/" + name
            message.value = inner.SerializeToString()
        return
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.4 or (field.message_type and depth >= 3):
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            key_field, value_field = (field.message_type.fields_by_number[number] for number in (1, 2))
            for _ in range(rng.choice([1, 2, 5])):
                if value_field.message_type:
                    fill(getattr(message, field.name)[scalar(key_field)], depth + 1)
                else:
                    getattr(message, field.name)[scalar(key_field)] = scalar(value_field)
        elif field.label == F.LABEL_REPEATED:
            for _ in range(rng.choice([1, 2, 5])):
                if field.message_type:
                    fill(getattr(message, field.name).add(), depth + 1)
                else:
                    getattr(message, field.name).append(scalar(field))
        elif field.message_type:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), depth + 1)
        else:
            setattr(message, field.name, scalar(field))


# ---- comparing ----

def canonical(value):
    """A NaN is no equal of itself, and floats are compared as what they are read to."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2 ** 53:
        return int(value)
    if isinstance(value, int) and abs(value) >= 2 ** 53:
        value = float(value)  # of a real: 64-bit numbers are texts
    if isinstance(value, float):
        return struct.unpack("<f", struct.pack("<f", value))[0] if abs(value) < 3e38 else value
    return value


def same(a, b):
    """By bytes; where they differ (the order of a map in the bytes of an Any, the bits of a NaN) by all that the messages say."""
    if a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True):
        return True
    return json_format.MessageToDict(a, descriptor_pool=pool) == json_format.MessageToDict(b, descriptor_pool=pool)


def difference(a, b, path=""):
    """The first place where two JSON values differ, for the report."""
    if type(a) is type(b) is dict:
        for key in sorted(a.keys() | b.keys()):
            if a.get(key) != b.get(key):
                return difference(a.get(key), b.get(key), f"{path}.{key}")
    if type(a) is type(b) is list and len(a) == len(b):
        for index, (left, right) in enumerate(zip(a, b)):
            if left != right:
                return difference(left, right, f"{path}[{index}]")
    return path, a, b


failures = 0


def check(condition, what, *details):
    global failures
    if not condition:
        failures += 1
        if failures <= 10:
            print(f"FAILED: {what}", *(repr(detail)[:600] for detail in details), sep="\n    ")


def parse_google(kind, data):
    try:
        return json_format.Parse(data, kind(), descriptor_pool=pool), None
    except (json_format.ParseError, UnicodeDecodeError, RecursionError, ValueError, TypeError, AttributeError) as error:
        return None, error


def check_round_trips(name):
    kind = message_class(name)
    message = kind()
    fill(message)
    wire = message.SerializeToString()
    google = json_format.MessageToJson(message, descriptor_pool=pool, indent=None, ensure_ascii=rng.random() < 0.5)
    fine, printed = ours.ask("print", name, wire)
    check(fine, f"{name}: is printed", printed, google)
    if fine:
        check(canonical(json.loads(printed)) == canonical(json.loads(google)), f"{name}: the same JSON", printed,
              difference(canonical(json.loads(printed)), canonical(json.loads(google))))
        back, error = parse_google(kind, printed)
        check(back is not None and same(back, message), f"{name}: Google reads ours", printed, error,
              back and difference(*(json_format.MessageToDict(each, descriptor_pool=pool) for each in (message, back))))
    for options in ({}, {"preserving_proto_field_name": True}, {"including_default_value_fields": True},
                    {"use_integers_for_enums": True}):
        given = json_format.MessageToJson(message, descriptor_pool=pool, **options)
        fine, read = ours.ask("read", name, given.encode())
        check(fine and same(kind.FromString(read), message), f"{name}: we read Google's {options}", given, read)


# ---- texts that are nearly right ----

VALUES = [None, True, False, 0, -1, 1, 1.0, 1.5, 1e3, 1e300, 2 ** 31, 2 ** 32, -2 ** 31, 2 ** 53, "", "1", "-1", "x", "1.5", "1e2",
          " 1", "1 ", "0x10", "NaN", "Infinity", "-Infinity", "nan", "true", "AQI=", "AQI", "-_-_", "A", "$$$$", [], {}, [1], [None],
          {"a": 1}, {"1": 1}, {"true": True}, {"a": None}, {"a": "b"}, "COLOR_RED", "color_red", "2020-01-02T03:04:05Z",
          "2020-01-02T03:04:05.5+01:30", "2020-02-30T00:00:00Z", "2020-01-02T03:04:05", "2020-01-02", "0000-01-01T00:00:00Z",
          "9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59-01:00", "2020-01-02T03:04:05.1234567891Z", "2020-01-02T24:00:00Z",
          "2020-01-02T03:04:60Z", {"@type": "type.googleapis.com/google.rpc.Status", "code": 5},
          {"@type": "type.googleapis.com/google.protobuf.Timestamp", "value": "2020-01-02T03:04:05Z"},
          {"@type": "no.such/Type"}, {"@type": "type.googleapis.com/google.rpc.Status", "cod": 5}, {"code": 5}]


# Where Google's Python is not the mapping's measure: it takes what only Python's int() and float() take, and looser base64 and
# times, any number as an enum and what is empty as a message; the mapping has exponents in quotes (1e2) which it has not.
def is_known_difference(field, value):
    kinds = [field]
    if field.message_type and field.message_type.GetOptions().map_entry:
        kinds = list(field.message_type.fields_by_number.values())
    for kind in kinds:
        if kind.type in INTS and (isinstance(value, str) or isinstance(value, (bool, float)) or
                                  isinstance(value, (list, dict)) and any(isinstance(item, (bool, float, str)) for item in value)):
            return True
        if kind.type == F.TYPE_ENUM and isinstance(value, (str, bool, float, list, dict)):
            return not (isinstance(value, str) and value.startswith(("COLOR", "x")))
        if kind.type == F.TYPE_ENUM and isinstance(value, int) and abs(value) >= 2 ** 31:
            return True
        if kind.message_type and value in ("", [], "9999-12-31T23:59:59-01:00"):
            return True
        if kind.type in (F.TYPE_FLOAT, F.TYPE_DOUBLE) and isinstance(value, (str, bool, list, dict)):
            return True
        if kind.type == F.TYPE_BYTES and isinstance(value, (str, list, dict)):
            return True
    return isinstance(value, dict) and None in value.values()


def check_nearly_right(name):
    kind = message_class(name)
    descriptor = kind.DESCRIPTOR
    if name.startswith("google.protobuf."):
        return  # no object of fields
    for field in descriptor.fields:
        for value in VALUES:
            given = json.dumps({field.json_name: value}).encode()
            fine, read = ours.ask("read", name, given)
            theirs, error = parse_google(kind, given)
            if is_known_difference(field, value):
                continue
            check(fine == (theirs is not None), f"{name}.{field.name}: both take it or refuse it", given, read, error)
            if fine and theirs is not None:
                check(same(kind.FromString(read), theirs), f"{name}.{field.name}: read alike", given, read, theirs)
            if not fine:
                check(read.decode().startswith(field.json_name), f"{name}.{field.name}: the error names the place", given, read)


# What is decided here and not by Google: (type, text, the message's JSON or the error's beginning).
KINDS = "trainyard.test.Kinds"
DECIDED = [
    (KINDS, '{"anInt32": "1e2"}', {"anInt32": 100}), (KINDS, '{"anInt32": 1e2}', {"anInt32": 100}),
    (KINDS, '{"anInt32": 1.0}', {"anInt32": 1}), (KINDS, '{"anInt32": "0x10"}', "anInt32: is not a whole number"),
    (KINDS, '{"anInt32": "1_0"}', "anInt32: is not a whole number"), (KINDS, '{"anInt32": true}', "anInt32: is not a whole number"),
    (KINDS, '{"anInt32": " 1"}', "anInt32: is not a whole number"), (KINDS, '{"anInt32": 1.5}', "anInt32: is not a whole number"),
    (KINDS, '{"anInt32": 2147483648}', "anInt32: is out of range"), (KINDS, '{"anInt32": "-2147483649"}', "anInt32: is out of range"),
    (KINDS, '{"aUint32": -1}', "aUint32: is out of range"), (KINDS, '{"aUint64": "18446744073709551615"}', {"aUint64": "18446744073709551615"}),
    (KINDS, '{"aUint64": "18446744073709551616"}', "aUint64: is not a whole number"),
    (KINDS, '{"anInt64": 1e19}', "anInt64: is out of range"), (KINDS, '{"anInt64": 1e18}', {"anInt64": "1000000000000000000"}),
    (KINDS, '{"aFloat": 1e39}', "aFloat: is out of range"), (KINDS, '{"aDouble": "1e999"}', "aDouble: is out of range"),
    (KINDS, '{"aDouble": "nan"}', "aDouble: is not a number"), (KINDS, '{"aDouble": "inf"}', "aDouble: is not a number"),
    (KINDS, '{"aDouble": true}', "aDouble: is not a number"), (KINDS, '{"aDouble": "1.5"}', {"aDouble": 1.5}),
    (KINDS, '{"color": "COLOR_RED"}', {"color": "COLOR_RED"}), (KINDS, '{"color": 1}', {"color": "COLOR_RED"}),
    (KINDS, '{"color": 99}', {"color": 99}), (KINDS, '{"color": "RED"}', 'color: "RED" is no value of'),
    (KINDS, '{"color": true}', "color: is not a whole number"),
    (KINDS, '{"someBytes": "-_-_"}', {"someBytes": "+/+/"}), (KINDS, '{"someBytes": "AQI"}', {"someBytes": "AQI="}),
    (KINDS, '{"someBytes": "AQI=="}', "someBytes: is not base64"), (KINDS, '{"someBytes": "A"}', "someBytes: is not base64"),
    (KINDS, '{"someBytes": "A A="}', "someBytes: is not base64"), (KINDS, '{"someBytes": 5}', "someBytes: is not base64"),
    (KINDS, '{"nothing": 5}', "nothing: trainyard.test.Kinds has no such field"),
    (KINDS, '{"list": [{}, {"inside": {"nothing": 5}}]}', "list[1].inside.nothing: trainyard.test.Kinds has no such field"),
    (KINDS, '{"texts": {"num_epochs": 5}}', "texts.num_epochs: is not a string"),
    (KINDS, '{"texts": {"num_epochs": null}}', "texts.num_epochs: is null"), (KINDS, '{"strings": ["a", null]}', "strings[1]: is null"),
    (KINDS, '{"byBool": {"yes": true}}', "byBool.yes: is no key"), (KINDS, '{"byInt32": {"x": 1}}', "byInt32.x: is not a whole number"),
    (KINDS, '{"aString": "a\\u0000b"}', "aString: has a NUL in it"), (KINDS, '{"anInt32": "1\\u0000"}', "anInt32: is not a whole number"),
    (KINDS, '{"a_string": "x", "aString": "y"}', "aString: is given twice"), (KINDS, '{"aBool": 1, "aBool": 2}', "message: not JSON: line 1: duplicate"),
    (KINDS, '{"textChoice": "a", "numberChoice": 1}', 'numberChoice: excludes "textChoice"'),
    (KINDS, '{"textChoice": null, "numberChoice": 0}', {"numberChoice": 0}), (KINDS, '{"textChoice": ""}', {"textChoice": ""}),
    (KINDS, '[]', "message: is not an object"), (KINDS, '', "message: not JSON"), (KINDS, '{"aBool": tru}', "message: not JSON: line 1"),
    (KINDS, '{}\n x', "message: not JSON: line 2"), (KINDS, '{"aString": "\\ud800"}', "message: not JSON"),
    (KINDS, '{"inside": ' * 40 + '{}' + '}' * 40, "inside.inside.inside"), (KINDS, '{"list": ' + '[' * 3000, "message: not JSON"),
    (KINDS, '{"any": {"@type": "x/google.rpc.Status", "code": 5}}', {"any": {"@type": "x/google.rpc.Status", "code": 5}}),
    (KINDS, '{"any": {"code": 5}}', "any.@type: is missing"), (KINDS, '{"any": {"@type": "no.such/Type"}}', "any.@type: \"no.such/Type\" is no type"),
    (KINDS, '{"any": {"@type": "x/google.rpc.Status", "cod": 5}}', "any.cod: google.rpc.Status has no such field"),
    (KINDS, " " * (2 << 20) + "{}", "message: has 2097154 bytes of JSON"),
    ("google.protobuf.Timestamp", '"2020-01-02T03:04:05.25+01:30"', "2020-01-02T01:34:05.250Z"),
    ("google.protobuf.Timestamp", '"2020-01-02t03:04:05z"', "message: is not a time"),
    ("viam.app.mltraining.v1.SubmitCustomTrainingJobRequest", '{"arguments": {"num_epochs": 3}}', "arguments.num_epochs: is not a string"),
]


def check_decided():
    for name, given, wanted in DECIDED:
        fine, answer = ours.ask("read", name, given.encode())
        if fine:
            _, answer = ours.ask("print", name, answer)
            check(json.loads(answer) == wanted, f"{name}: is read as it was decided", given[:200], answer, wanted)
        else:
            check(isinstance(wanted, str) and answer.decode().startswith(wanted), f"{name}: is refused as it was decided",
                  given[:200], answer, wanted)


def check_printing():
    kind = message_class(KINDS)
    value = kind(a_double=0.1, an_int64=-5, some_bytes=b"\x01\xff", a_uint64=2 ** 64 - 1)
    value.any.type_url, value.any.value = "x/no.such.Type", b"\x01\xff"
    printed = json.loads(ours.ask("print", KINDS, value.SerializeToString())[1])
    check(printed["any"] == {"@type": "x/no.such.Type", "value": base64.b64encode(b"\x01\xff").decode()}, "an unknown Any", printed)
    readable = json.loads(ours.ask("readable", KINDS, value.SerializeToString())[1])
    check(readable["some_bytes"] == "01ff" and readable["an_int64"] == -5 and readable["a_uint64"] == str(2 ** 64 - 1),
          "for people", readable)
    # A key that comes twice on the wire: the last one counts, and JSON has it once.
    twice = kind(texts={"a": "1"}).SerializeToString() + kind(texts={"a": "2"}).SerializeToString()
    check(ours.ask("print", KINDS, twice)[1] == b'{"texts":{"a":"2"}}', "a key that comes twice", ours.ask("print", KINDS, twice))
    check(math.isnan(kind.FromString(ours.ask("read", KINDS, b'{"aDouble":"NaN"}')[1]).a_double), "NaN is read")


rounds = 0
for name in TYPES:
    for _ in range(ROUNDS * (5 if name == KINDS else 1)):
        check_round_trips(name)
        rounds += 1
    check_nearly_right(name)
check_decided()
check_printing()
print(f"seed {SEED}: {len(TYPES)} types, {rounds} random messages both ways, {len(VALUES)} values for each field; {failures} failures")
sys.exit(1 if failures else 0)
