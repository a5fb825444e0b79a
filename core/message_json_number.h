// Numbers of JSON as protobuf takes them: as numbers or in quotes. Each returns NULL, or what is wrong with the value. Pure.
#pragma once

#include <jansson.h>
#include <stdint.h>

// A whole number within [-lowest, highest], in two's complement; 1e2 and 1.0 are whole.
const char *ty_json_integer(const json_t *value, uint64_t lowest, uint64_t highest, uint64_t *ret);
// The bits of a float or a double; also "NaN", "Infinity" and "-Infinity".
const char *ty_json_float(const json_t *value, uint64_t *ret_bits);
const char *ty_json_double(const json_t *value, uint64_t *ret_bits);
