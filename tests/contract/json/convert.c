// core/message_json as a filter, for message_json_test.py. Requests on stdin, answers on stdout, each a line of "VERB TYPE LENGTH" or
// "ok LENGTH" or "error LENGTH" and that many bytes: "print TYPE" turns bytes of the wire into JSON, "readable TYPE" the same
// for people, "read TYPE" JSON into bytes of the wire. "types" lists the types.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/message_json.h"
#include "core/wire.h"
#include "kinds.pb-c.h"
#include "message_types.h"

static const ProtobufCMessageDescriptor *find(const char *name)
{
    if (!strcmp(name, trainyard__test__kinds__descriptor.name))
        return &trainyard__test__kinds__descriptor;
    for (size_t i = 0; i < ty_message_type_count; i++)
        if (!strcmp(name, ty_message_types[i]->name))
            return ty_message_types[i];
    fprintf(stderr, "no type %s\n", name);
    exit(2);
}

static void answer(const char *word, const void *bytes, size_t len)
{
    printf("%s %zu\n", word, len);
    if (len)
        fwrite(bytes, 1, len, stdout);
    fflush(stdout);
}

static int print(const ProtobufCMessageDescriptor *type, unsigned flags, const char *bytes, size_t len, struct ty_buf *out,
                 struct ty_err *err)
{
    ProtobufCMessage *message;
    if (ty_wire_unpack(type, (const uint8_t *)bytes, len, &message, err) < 0)
        return -(int)err->code;
    ty_message_json_print(message, flags, out);
    protobuf_c_message_free_unpacked(message, NULL);
    return 0;
}

static void list_types(void)
{
    TY_BUF(names);
    ty_buf_add_format(&names, "%s\n", trainyard__test__kinds__descriptor.name);
    for (size_t i = 0; i < ty_message_type_count; i++)
        ty_buf_add_format(&names, "%s\n", ty_message_types[i]->name);
    answer("ok", names.data, names.len);
}

int main(void)
{
    char verb[16], name[256];
    size_t len;
    while (scanf("%15s %255s %zu", verb, name, &len) == 3 && getchar() == '\n') {
        char *bytes TY_FREE = ty_xmalloc(len + 1);
        TY_BUF(out);
        struct ty_err err;
        int rc;
        if (fread(bytes, 1, len, stdin) != len)
            return 2;
        if (!strcmp(verb, "types")) {
            list_types();
            continue;
        }
        if (!strcmp(verb, "read"))
            rc = ty_message_json_read(find(name), bytes, len, &out, &err);
        else
            rc = print(find(name), verb[0] == 'r' ? TY_MESSAGE_JSON_READABLE : 0, bytes, len, &out, &err);
        if (rc < 0)
            answer("error", err.message, strlen(err.message));
        else
            answer("ok", out.data, out.len);
    }
    return 0;
}
