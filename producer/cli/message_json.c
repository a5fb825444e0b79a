#include "producer/cli/message_json.h"

#include <string.h>

#include "core/buf.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "producer/cli/when.h"

typedef const ProtobufCFieldDescriptor Field;

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

static json_t *enum_json(Field *field, int value)
{
    const ProtobufCEnumValue *row = protobuf_c_enum_descriptor_get_value(field->descriptor, value);
    return row ? json_string(row->name) : json_integer(value);
}

static json_t *submessage_json(const ProtobufCMessage *message)
{
    char text[TY_WHEN_BYTES];
    if (message && message->descriptor == &google__protobuf__timestamp__descriptor)
        return json_string(ty_when_rfc3339(ty_when_us((const Google__Protobuf__Timestamp *)message), text));
    return message ? ty_message_json(message) : json_null();
}

// The value at `at`; NULL: it is the default.
static json_t *value_json(Field *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32: return *(const int32_t *)at ? json_integer(*(const int32_t *)at) : NULL;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32: return *(const uint32_t *)at ? json_integer(*(const uint32_t *)at) : NULL;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64: return *(const int64_t *)at ? json_integer((json_int_t) * (const int64_t *)at) : NULL;
    case PROTOBUF_C_TYPE_FLOAT: return *(const float *)at != 0 ? json_real((double)*(const float *)at) : NULL;
    case PROTOBUF_C_TYPE_DOUBLE: return *(const double *)at != 0 ? json_real(*(const double *)at) : NULL;
    case PROTOBUF_C_TYPE_BOOL: return *(const protobuf_c_boolean *)at ? json_true() : NULL;
    case PROTOBUF_C_TYPE_ENUM: return *(const int *)at ? enum_json(field, *(const int *)at) : NULL;
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)at;
        return text && *text ? json_string(text) : NULL;
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *bytes = at;
        return bytes->len ? ty_hex_json(bytes->data, bytes->len) : NULL;
    }
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *message = *(const ProtobufCMessage *const *)at;
        return message ? submessage_json(message) : NULL;
    }
    }
    return NULL;
}

// In a list what is the default stands too.
static json_t *element_json(Field *field, const void *at)
{
    json_t *value = value_json(field, at);
    if (value)
        return value;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES: return json_string("");
    case PROTOBUF_C_TYPE_BOOL: return json_false();
    case PROTOBUF_C_TYPE_ENUM: return enum_json(field, 0);
    default: return json_integer(0);
    }
}

static size_t size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64: return sizeof(int64_t);
    case PROTOBUF_C_TYPE_DOUBLE: return sizeof(double);
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    default: return sizeof(int32_t);
    }
}

// A map of texts travels as messages KeyEntry {key = 1, value = 2}.
static bool is_text_map(Field *field)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    size_t len = strlen(entry->name);
    return len > 5 && !strcmp(entry->name + len - 5, "Entry") && entry->n_fields == 2 &&
           entry->fields[0].type == PROTOBUF_C_TYPE_STRING && entry->fields[1].type == PROTOBUF_C_TYPE_STRING;
}

static const char *text_at(const ProtobufCMessage *entry, unsigned index)
{
    return *(const char *const *)((const char *)entry + entry->descriptor->fields[index].offset);
}

static json_t *repeated_json(Field *field, const ProtobufCMessage *message)
{
    size_t count = *(const size_t *)((const char *)message + field->quantifier_offset);
    const char *at = *(const char *const *)((const char *)message + field->offset);
    if (!count)
        return NULL;
    bool is_map = is_text_map(field);
    json_t *list = is_map ? json_object() : json_array();
    for (size_t i = 0; i < count; i++, at += size_of(field->type)) {
        if (!is_map) {
            json_array_append_new(list, element_json(field, at));
            continue;
        }
        const ProtobufCMessage *entry = *(const ProtobufCMessage *const *)(const void *)at;
        json_object_set_new(list, text_at(entry, 0), json_string(text_at(entry, 1)));
    }
    return list;
}

json_t *ty_message_json(const ProtobufCMessage *message)
{
    json_t *object = json_object();
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        Field *field = &message->descriptor->fields[i];
        const char *base = (const char *)message;
        bool is_absent = field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
                         *(const uint32_t *)(const void *)(base + field->quantifier_offset) != field->id;
        json_t *value = field->label == PROTOBUF_C_LABEL_REPEATED ? repeated_json(field, message)
                        : is_absent                                ? NULL
                                                                   : value_json(field, base + field->offset);
        if (value)
            json_object_set_new(object, field->name, value);
    }
    return object;
}
