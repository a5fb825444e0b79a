// core/message_json: what is read from JSON passes the wire's check, and is printed and read again as the same; what passes the
// wire's check is printed as one valid JSON text.
#include <jansson.h>

#include "core/message_json.h"
#include "core/wire.h"
#include "message_types.h"
#include "tests/fuzz/fuzz.h"

static void print(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len, struct ty_buf *out)
{
    ProtobufCMessage *message;
    struct ty_err err;
    REQUIRE(ty_wire_unpack(type, bytes, len, &message, &err) == 0);
    ty_message_json_print(message, 0, out);
    protobuf_c_message_free_unpacked(message, NULL);
    json_t *value = json_loadb((const char *)out->data, out->len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    REQUIRE(value);
    json_decref(value);
}

static void from_json(const ProtobufCMessageDescriptor *type, const uint8_t *text, size_t len)
{
    TY_BUF(wire);
    TY_BUF(again);
    TY_BUF(first);
    TY_BUF(second);
    struct ty_err err;
    int rc = ty_message_json_read(type, (const char *)text, len, &wire, &err);
    REQUIRE(rc == 0 || (rc == -TY_EINVALID && !wire.len && ty_utf8_is_valid(err.message, strlen(err.message))));
    if (rc < 0)
        return;
    print(type, wire.data, wire.len, &first);
    REQUIRE(ty_message_json_read(type, (const char *)first.data, first.len, &again, &err) == 0);
    print(type, again.data, again.len, &second);
    REQUIRE(first.len == second.len && !memcmp(first.data, second.data, first.len));
}

// By its name, so that the corpus stays what it is when there are more types; any other text is the number of one.
static const ProtobufCMessageDescriptor *find(const char *name)
{
    unsigned sum = 0;
    for (size_t i = 0; i < ty_message_type_count; i++)
        if (!strcmp(ty_message_types[i]->name, name))
            return ty_message_types[i];
    for (; *name; name++)
        sum = sum * 31 + (unsigned char)*name;
    return ty_message_types[sum % ty_message_type_count];
}

// "r" or "p" (read or print), the type's name, a line break, and the text or the bytes.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    bool prints = input_byte(&input) == 'p';
    const uint8_t *line_end = input.len ? memchr(input.bytes, '\n', input.len) : NULL;
    char *name = input_text(&input, line_end ? (size_t)(line_end - input.bytes) : 0);
    const ProtobufCMessageDescriptor *type = find(name);
    struct ty_err err;
    TY_BUF(text);
    input_byte(&input);
    if (!prints)
        from_json(type, input.bytes, input.len);
    else if (ty_wire_check(type, input.bytes, input.len, &err) == 0)
        print(type, input.bytes, input.len, &text);
    free(name);
    return 0;
}
