"""Makes the C source that carries the Redis scripts: bundle.py SCHEMAS_DIR OUT.c [DEFECTS.json]

Each script is its own first line (the #!lua line with its flags), then the transition table as a Lua table, then
prelude.lua.in, then the rest of the script.

With DEFECTS.json (a build that is not for use, see core/defect.h) the scripts are there once for each defect as well, and a
program takes those of the defect that its environment names.
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

arrays = []


def bundle(path, edits):
    """The script as the store gets it. edits: of a defect, [file, what stands there, what is to stand there] each."""
    first, _, body = path.read_text(encoding="utf-8").partition("\n")
    if not first.startswith("#!lua"):
        sys.exit(f"{path}: the first line must start with #!lua")
    texts = {"prelude.lua.in": prelude, path.name: body}
    for name, right, wrong in edits:
        if name in texts:
            if texts[name].count(right) != 1:
                sys.exit(f"{sys.argv[3]}: in {name} this must stand once: {right}")
            texts[name] = texts[name].replace(right, wrong)
    return (first + "\n" + lua_table + texts["prelude.lua.in"] + texts[path.name]).encode()


def table_of(suffix, edits):
    """The rows of a table of all scripts; their bytes go to `arrays`."""
    rows = []
    for path in sorted((schemas / "redis").glob("*.lua")):
        data, symbol = bundle(path, edits), f"script_{path.stem}{suffix}"
        arrays.append(f"static const unsigned char {symbol}[] = {{" + ",".join(map(str, data)) + ",0};")
        rows.append(f'    {{"{path.stem}", {symbol}, {len(data)}}},')
    return "\n".join(rows) + "\n    {NULL, NULL, 0},\n"


rows = table_of("", [])
if len(sys.argv) <= 3:
    out.write_text('#include "schemas/schemas.h"\n' + "\n".join(arrays) +
                   "\nconst struct ty_schema_script ty_schema_scripts[] = {\n" + rows + "};\n", encoding="ascii")
    sys.exit(0)

# The header says const, which these are but for the moment before main.
defects = json.loads(pathlib.Path(sys.argv[3]).read_text(encoding="utf-8"))
count = rows.count("\n")
tables = "".join(f"static const struct ty_schema_script defect_{number}[] = {{\n{table_of(f'_{number}', edits)}}};\n"
                 for number, edits in enumerate(defects.values()))
choices = "".join(f'    if (!strcmp(name, "{name}"))\n        memcpy(ty_schema_scripts, defect_{number}, sizeof defect_{number});\n'
                  for number, name in enumerate(defects))
out.write_text(f"""#include <stddef.h>
#include <stdlib.h>
#include <string.h>
struct ty_schema_script {{ const char *name; const unsigned char *source; size_t source_len; }};
{chr(10).join(arrays)}
__attribute__((visibility("default"))) extern struct ty_schema_script ty_schema_scripts[];
struct ty_schema_script ty_schema_scripts[{count}] = {{
{rows}}};
{tables}
__attribute__((constructor)) static void seed(void)
{{
    const char *name = getenv("TRAINYARD_SEED_DEFECT");
    if (!name)
        return;
{choices}}}
""", encoding="ascii")
