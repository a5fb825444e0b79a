#!/usr/bin/env python3
"""Keeps the tables in the documentation of this folder the same as the data they show.

usage: document.py check [SCHEMAS_DIR]    exit 1 where a document says other than the data; says where
       document.py write [SCHEMAS_DIR]    writes the generated sections anew

Generated, between "<!-- NAME: made by document.py -->" and "<!-- end -->": topics in README.md from topics.json, commands
and log lines there from commands.json and log_lines.json, transitions in redis/README.md from transitions.json. Checked only: the record's header in redis/README.md against the
layout in redis/prelude.lua.in, that every script has its line there, and that commands.json has one row for each state and
command, and no cancel in it that transitions.json has not."""
import json
import pathlib
import re
import sys

WIDTHS = {"B": 1, "H": 2, "I4": 4, "I8": 8, "c16": 16}


def duration(ms):
    days = int(ms) / 86400000
    return f"{days:g} days"


def topics_table(schemas):
    data = json.loads((schemas / "topics.json").read_text(encoding="utf-8"))
    yield "| topic | key | value | partitions | kept | largest record | time | written by | read by |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for topic in data["topics"]:
        config = topic["config"]
        if config["cleanup.policy"] == "compact":
            lag = config.get("min.compaction.lag.ms")
            kept = "compacted" + (f" after {duration(lag)}" if lag else "")
        else:
            kept = duration(config["retention.ms"])
        yield (f"| `{data['prefix']}{topic['name']}` | {topic['key']} | {topic['value']} | {topic['partitions']} | {kept} | "
               f"{int(config['max.message.bytes']):,} bytes | {config['message.timestamp.type']} | "
               f"{', '.join(topic['writers'])} | {', '.join(topic['readers'])} |")


def transitions_table(schemas):
    data = json.loads((schemas / "transitions.json").read_text(encoding="utf-8"))
    yield "States: " + ", ".join(f"{name} {number}" for name, number in data["states"].items()) + ". " + data["about"]
    yield ""
    yield "| event | from | to | by | when |"
    yield "|---|---|---|---|---|"
    for row in data["transitions"]:
        yield f"| {row['event']} | {row['from']} | {row['to']} | {row['by']} | {row['when']} |"


def commands_table(schemas):
    data = json.loads((schemas / "commands.json").read_text(encoding="utf-8"))
    rows = {(row["state"], row["command"]): row for row in data["rows"]}
    yield data["about"]
    yield ""
    yield "| state | |"
    yield "|---|---|"
    for name, what in data["states"].items():
        yield f"| {name} | {what} |"
    for road, title in (("kafka", "Kafka"), ("rpc", "RPC")):
        yield ""
        yield f"| by {title}: state | " + " | ".join(data["commands"]) + " |"
        yield "|---" * (1 + len(data["commands"])) + "|"
        for state in data["states"]:
            cells = []
            for command in data["commands"]:
                result, after = rows[state, command][road]
                cells.append(f"{result}, {after}" if after != state else result)
            yield f"| {state} | " + " | ".join(cells) + " |"
    yield ""
    yield "Where no state is named, it stays. " + "; ".join(
        f"*{name}*: {what}" for group in ("commands", "kafka_results") for name, what in data[group].items() if what) + "."


def shown(text, times, last):
    """Bytes (last "\\x7e") or text of a case as the table shows them; what is behind `last` stands as its number."""
    text = text if len(text) <= 40 else text[:40] + "…"
    escaped = "".join({"\r": "\\r", "\n": "\\n", "\t": "\\t", "|": "\\|"}.get(one) or
                      (one if one.isprintable() and one <= last else f"\\x{ord(one):02x}") for one in text)
    return (f"`{escaped}`" if escaped else "an empty line") + (f" × {times:,}" if times > 1 else "")


def shown_print(part):
    after = f"{part['after_ms']} ms later " if "after_ms" in part else ""
    return after + ("stderr " if part["stream"] == "stderr" else "") + shown(part["bytes"], part.get("times", 1), "\x7e")


def shown_entry(entry):
    marks = ["stderr"] * (entry["stream"] == "stderr") + [entry["level"]] * (entry["level"] != "info") + ["+"] * entry.get("continued", False)
    repeated = f", {entry['repeated']:,} times" if "repeated" in entry else ""
    return " ".join(marks + [shown(entry["text"], entry.get("times", 1), "\uffff")]) + repeated


def log_lines_table(schemas):
    data = json.loads((schemas / "log_lines.json").read_text(encoding="utf-8"))
    yield data["about"]
    yield ""
    yield "| case | | printed | entries |"
    yield "|---|---|---|---|"
    for case in data["cases"]:
        entries = [shown_entry(entry) for entry in case["entries"]]
        more = [f"… ({len(entries)})"] if len(entries) > 8 else []
        yield (f"| {case['name']} | {case['what']} | {', '.join(map(shown_print, case['prints']))} | "
               f"{'; '.join(entries[:6 if more else 8] + more)} |")


SECTIONS = {"README.md": {"topics": topics_table, "commands": commands_table, "log lines": log_lines_table}, "redis/README.md": {"transitions": transitions_table}}


def with_sections(text, sections, schemas, path):
    for name, make in sections.items():
        start, end = f"<!-- {name}: made by document.py -->\n", "<!-- end -->\n"
        head, found, rest = text.partition(start)
        old, closed, tail = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{path}: there is no section {start.strip()}")
        text = head + start + "\n".join(make(schemas)) + "\n" + end + tail
    return text


def layout(schemas):
    """The header as the scripts read it: [(offset, bytes)]."""
    prelude = (schemas / "redis" / "prelude.lua.in").read_text(encoding="utf-8")
    form = re.search(r"local HEAD = '<(\w+)'", prelude).group(1)
    offset = 0
    for item in re.findall(r"c16|I4|I8|B|H", form):
        yield offset, WIDTHS[item]
        offset += WIDTHS[item]
    total = int(re.search(r"local HEAD_BYTES = (\d+)", prelude).group(1))
    if total != offset:
        raise SystemExit(f"prelude.lua.in: HEAD has {offset} bytes, HEAD_BYTES says {total}")


def redis_problems(schemas):
    text = (schemas / "redis" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (\d+) \| `\w+` \|", text, re.M)
    if [(int(a), int(b)) for a, b in rows] != list(layout(schemas)):
        yield "redis/README.md: the table of the record's header is not the layout of prelude.lua.in"
    for script in sorted((schemas / "redis").glob("*.lua")):
        if not re.search(rf"^\| `{script.stem}` \|", text, re.M):
            yield f"redis/README.md: the script {script.stem} is not in the table of scripts"


def command_problems(schemas):
    data = json.loads((schemas / "commands.json").read_text(encoding="utf-8"))
    found = sorted((row["state"], row["command"]) for row in data["rows"])
    if found != sorted((state, command) for state in data["states"] for command in data["commands"]):
        yield "commands.json: there is not just one row for each state and command"
    for row in data["rows"]:
        if row["kafka"][0] not in data["kafka_results"] or not {row["kafka"][1], row["rpc"][1]} <= set(data["states"]):
            yield f"commands.json: {row['state']}, {row['command']}: an unknown result or state"
    transitions = json.loads((schemas / "transitions.json").read_text(encoding="utf-8"))
    cancels = {row["from"]: row["to"] for row in transitions["transitions"] if row["event"] == "cancel"}
    for row in data["rows"]:
        if row["command"] == "cancel" and row["state"] in transitions["states"]:
            if row["kafka"][1] != cancels.get(row["state"], row["state"]):
                yield f"commands.json: cancel of {row['state']} is not what transitions.json says"


def main(arguments):
    if not arguments or len(arguments) > 2 or arguments[0] not in ("check", "write"):
        print(__doc__)
        return 0 if arguments in (["--help"], ["-h"]) else 2
    schemas = pathlib.Path(arguments[1] if len(arguments) == 2 else pathlib.Path(__file__).resolve().parent)
    problems = list(command_problems(schemas))
    for name, sections in SECTIONS.items() if not problems else ():
        path = schemas / name
        text = path.read_text(encoding="utf-8")
        fresh = with_sections(text, sections, schemas, path)
        if arguments[0] == "write":
            path.write_text(fresh, encoding="utf-8")
        elif fresh != text:
            problems.append(f"{name}: a generated section is not what the data says; run schemas/document.py write")
    problems += redis_problems(schemas)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
