#!/usr/bin/env python3
"""Writes the list of all our message types for C: types.py OUT_H OUT_C HEADER... (the generated .pb-c.h files, as included).

What goes by a message's name (an Any in JSON, the tests of every type) looks it up there."""
import re
import sys

out_h, out_c, *headers = sys.argv[1:]
names = []
includes = []
for header in headers:
    base, _, include = header.partition("::")
    includes.append(include)
    with open(f"{base}/{include}") as file:
        names += re.findall(r"^extern const ProtobufCMessageDescriptor (\w+);", file.read(), re.M)
with open(out_h, "w") as file:
    file.write("""// Made by proto/types.py: every message type of proto/, map entries included.
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

extern const ProtobufCMessageDescriptor *const ty_message_types[];
extern const size_t ty_message_type_count;
""")
with open(out_c, "w") as file:
    file.write('#include "message_types.h"\n\n')
    file.write("".join(f'#include "{include}"\n' for include in includes))
    file.write("\nconst ProtobufCMessageDescriptor *const ty_message_types[] = {\n")
    file.write("".join(f"    &{name},\n" for name in names))
    file.write("};\nconst size_t ty_message_type_count = sizeof ty_message_types / sizeof *ty_message_types;\n")
