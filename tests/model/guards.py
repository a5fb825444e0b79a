#!/usr/bin/env python3
"""Makes the model's guards from the one table of transitions: guards.py TRANSITIONS.json OUT.pml

For each event TO_<event>(s) is the state that the event leads to from s, or NOWHERE: what the table does not list does not
happen in the model, as it does not in the Redis scripts.
"""
import json
import pathlib
import sys


def guards(table):
    states = table["states"]
    lines = [f"#define {name} {number}" for name, number in states.items()]
    events = {}
    for row in table["transitions"]:
        events.setdefault(row["event"], []).append((row["from"], row["to"]))
    for event, pairs in sorted(events.items()):
        expression = "NOWHERE"
        for source, target in reversed(pairs):
            expression = f"((s) == {source} -> {target} : {expression})"
        lines.append(f"#define TO_{event}(s) {expression}")
    return "#define NOWHERE 255\n" + "\n".join(lines) + "\n"


def write(source, out):
    out.write_text(guards(json.loads(source.read_text(encoding="utf-8"))), encoding="ascii")


def main():
    write(*map(pathlib.Path, sys.argv[1:]))


if __name__ == "__main__":
    main()
