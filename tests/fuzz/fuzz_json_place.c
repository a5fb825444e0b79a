// core/json_place: in any text that the parser accepts, every value has a line within the text, and those of an object's members do
// not stand before it. The first bytes choose the way down.
#include <jansson.h>

#include "core/json_place.h"
#include "tests/fuzz/fuzz.h"

#define DEPTH 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint8_t choice[DEPTH];
    for (size_t i = 0; i < DEPTH; i++)
        choice[i] = input_byte(&input);
    json_error_t error;
    json_t *root = json_loadb((const char *)input.bytes, input.len, JSON_ALLOW_NUL, &error), *value = root;
    if (!root)
        return 0;
    struct ty_json_step steps[DEPTH + 1];
    size_t lines = 1, last = 0, depth = 0;
    for (size_t i = 0; i < input.len; i++)
        lines += input.bytes[i] == '\n';
    for (;;) {
        size_t line = ty_json_line((const char *)input.bytes, input.len, steps, depth);
        REQUIRE(line >= 1 && line <= lines && line >= last);
        last = line;
        if (depth == DEPTH || (json_array_size(value) == 0 && json_object_size(value) == 0))
            break;
        if (json_is_array(value)) {
            size_t index = choice[depth] % json_array_size(value);
            steps[depth] = (struct ty_json_step){NULL, index};
            value = json_array_get(value, index);
        } else {
            void *at = json_object_iter(value);
            for (size_t skip = choice[depth] % json_object_size(value); skip; skip--)
                at = json_object_iter_next(value, at);
            steps[depth] = (struct ty_json_step){json_object_iter_key(at), 0};
            value = json_object_iter_value(at);
        }
        depth++;
    }
    steps[0] = (struct ty_json_step){"no such member", 0};
    REQUIRE(ty_json_line((const char *)input.bytes, input.len, steps, 1) >= 1);
    json_decref(root);
    return 0;
}
