#include "producer/cli/message_json.h"

#include "core/buf.h"
#include "core/message_json.h"

json_t *ty_hex_json(const void *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    TY_BUF(text);
    char *out = (char *)ty_buf_reserve(&text, 2 * len + 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = ((const uint8_t *)bytes)[i];
        *out++ = digits[byte >> 4];
        *out++ = digits[byte & 15];
    }
    text.len = 2 * len;
    return json_stringn(ty_buf_text(&text), text.len);
}

json_t *ty_message_json(const ProtobufCMessage *message)
{
    TY_BUF(text);
    ty_message_json_print(message, TY_MESSAGE_JSON_READABLE, &text);
    return json_loadb((const char *)text.data, text.len, 0, NULL);
}
