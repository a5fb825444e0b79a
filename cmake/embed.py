"""Writes files as a C array: embed.py SYMBOL OUT.c FILE..."""
import sys

symbol, out, files = sys.argv[1], sys.argv[2], sys.argv[3:]
data = b"".join(open(name, "rb").read() for name in files)
lines = [",".join(map(str, data[i:i + 24])) + "," for i in range(0, len(data), 24)]
with open(out, "w", encoding="ascii") as f:
    f.write("#include <stddef.h>\n")
    f.write(f"extern const unsigned char {symbol}[];\nextern const size_t {symbol}_len;\n")
    f.write(f"const unsigned char {symbol}[] = {{\n" + "\n".join(lines) + "0};\n")
    f.write(f"const size_t {symbol}_len = {len(data)};\n")
