"""Makes the C source that carries the Redis scripts: bundle.py SCHEMAS_DIR OUT.c

Each script is its own first line (the #!lua line with its flags), then the transition table as a Lua table, then
prelude.lua.in, then the rest of the script.
"""
import json
import pathlib
import sys

schemas, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
table = json.loads((schemas / "transitions.json").read_text(encoding="utf-8"))
events = {}
for row in table["transitions"]:
    source = table["states"][row["from"]]
    if source in events.setdefault(row["event"], {}):
        sys.exit(f"transitions.json: {row['event']} from {row['from']} stands twice")
    events[row["event"]][source] = table["states"][row["to"]]
lua_table = "local T = {" + ",".join(
    f"{event}={{" + ",".join(f"[{a}]={b}" for a, b in sorted(pairs.items())) + "}"
    for event, pairs in sorted(events.items())) + "}\n"
prelude = (schemas / "redis" / "prelude.lua.in").read_text(encoding="utf-8")

arrays, rows = [], []
for path in sorted((schemas / "redis").glob("*.lua")):
    first, _, body = path.read_text(encoding="utf-8").partition("\n")
    if not first.startswith("#!lua"):
        sys.exit(f"{path}: the first line must start with #!lua")
    data = (first + "\n" + lua_table + prelude + body).encode()
    name = path.stem
    arrays.append(f"static const unsigned char script_{name}[] = {{" + ",".join(map(str, data)) + ",0};")
    rows.append(f'    {{"{name}", script_{name}, {len(data)}}},')
out.write_text('#include "schemas/schemas.h"\n' + "\n".join(arrays) +
               "\nconst struct ty_schema_script ty_schema_scripts[] = {\n" + "\n".join(rows) +
               "\n    {NULL, NULL, 0},\n};\n", encoding="ascii")
