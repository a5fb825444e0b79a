#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base64.h"
#include "core/limits.h"
#include "core/message_json_internal.h"
#include "core/wire.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

typedef const ProtobufCFieldDescriptor Field;

struct printer {
    struct ty_buf *out;
    unsigned flags;
    unsigned depth; // messages inside each other
};

static void print_message(struct printer *printer, const ProtobufCMessage *message);

// ---- values ----

static void print_escaped(struct ty_buf *out, uint8_t byte)
{
    if (byte == '"' || byte == '\\')
        ty_buf_add_format(out, "\\%c", byte);
    else if (byte == '\n')
        ty_buf_add_text(out, "\\n");
    else if (byte == '\t')
        ty_buf_add_text(out, "\\t");
    else
        ty_buf_add_format(out, "\\u%04x", byte);
}

static void print_text(struct printer *printer, const char *text, size_t len)
{
    struct ty_buf *out = printer->out;
    size_t from = 0; // what is not copied yet
    ty_buf_add_byte(out, '"');
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f)
            continue;
        ty_buf_add(out, text + from, i - from);
        print_escaped(out, byte);
        from = i + 1;
    }
    ty_buf_add(out, text + from, len - from);
    ty_buf_add_byte(out, '"');
}

static void print_string(struct printer *printer, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    TY_BUF(repaired);
    if (ty_utf8_is_valid(text ? text : "", len)) {
        print_text(printer, text, len);
        return;
    }
    ty_utf8_repair(text, len, &repaired);
    print_text(printer, (const char *)repaired.data, repaired.len);
}

static void print_bytes(struct printer *printer, const ProtobufCBinaryData *bytes)
{
    ty_buf_add_byte(printer->out, '"');
    if (!(printer->flags & TY_MESSAGE_JSON_READABLE))
        ty_base64_add(printer->out, bytes->data, bytes->len, true);
    else
        for (size_t i = 0; i < bytes->len; i++)
            ty_buf_add_format(printer->out, "%02x", bytes->data[i]);
    ty_buf_add_byte(printer->out, '"');
}

// The shortest of the texts that are read as the same number.
static void print_real(struct printer *printer, double value, bool is_float)
{
    char text[40];
    if (isnan(value) || isinf(value)) {
        ty_buf_add_text(printer->out, isnan(value) ? "\"NaN\"" : value < 0 ? "\"-Infinity\"" : "\"Infinity\"");
        return;
    }
    for (int digits = is_float ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (is_float ? (float)strtod(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    ty_buf_add_text(printer->out, !strcmp(text, "-0") ? "-0.0" : text); // which readers would take for the whole number 0
}

static void print_long(struct printer *printer, uint64_t value, bool is_signed)
{
    bool is_plain = printer->flags & TY_MESSAGE_JSON_READABLE && (is_signed || value <= INT64_MAX);
    const char *quote = is_plain ? "" : "\"";
    if (is_signed)
        ty_buf_add_format(printer->out, "%s%" PRId64 "%s", quote, (int64_t)value, quote);
    else
        ty_buf_add_format(printer->out, "%s%" PRIu64 "%s", quote, value, quote);
}

static void print_enum(struct printer *printer, const ProtobufCEnumDescriptor *descriptor, int value)
{
    const ProtobufCEnumValue *row = protobuf_c_enum_descriptor_get_value(descriptor, value);
    if (row)
        ty_buf_add_format(printer->out, "\"%s\"", row->name);
    else
        ty_buf_add_format(printer->out, "%d", value);
}

static void print_value(struct printer *printer, Field *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32: ty_buf_add_format(printer->out, "%" PRId32, *(const int32_t *)at); break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32: ty_buf_add_format(printer->out, "%" PRIu32, *(const uint32_t *)at); break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64: print_long(printer, *(const uint64_t *)at, true); break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64: print_long(printer, *(const uint64_t *)at, false); break;
    case PROTOBUF_C_TYPE_FLOAT: print_real(printer, (double)*(const float *)at, true); break;
    case PROTOBUF_C_TYPE_DOUBLE: print_real(printer, *(const double *)at, false); break;
    case PROTOBUF_C_TYPE_BOOL: ty_buf_add_text(printer->out, *(const protobuf_c_boolean *)at ? "true" : "false"); break;
    case PROTOBUF_C_TYPE_ENUM: print_enum(printer, field->descriptor, *(const int *)at); break;
    case PROTOBUF_C_TYPE_STRING: print_string(printer, *(const char *const *)at); break;
    case PROTOBUF_C_TYPE_BYTES: print_bytes(printer, at); break;
    case PROTOBUF_C_TYPE_MESSAGE: print_message(printer, *(const ProtobufCMessage *const *)at); break;
    }
}

// ---- fields ----

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

// A field that has no presence of its own is left out at its default.
static bool is_default(Field *field, const void *at)
{
    static const char zeros[sizeof(ProtobufCBinaryData)];
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: return !*(const char *const *)at || !**(const char *const *)at;
    case PROTOBUF_C_TYPE_BYTES: return !((const ProtobufCBinaryData *)at)->len;
    default: return !memcmp(at, zeros, size_of(field->type));
    }
}

static bool is_there(Field *field, const ProtobufCMessage *message)
{
    const char *base = (const char *)message;
    const void *at = base + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)(const void *)(base + field->quantifier_offset) != 0;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(const void *)(base + field->quantifier_offset) == field->id &&
               (field->type != PROTOBUF_C_TYPE_MESSAGE || *(const void *const *)at);
    return !is_default(field, at);
}

// The value of entry `index` of a map under its key; the entry of a key that comes again later counts.
static bool is_last_of_key(const ProtobufCMessage *const *entries, size_t index, size_t count)
{
    Field *key = &entries[index]->descriptor->fields[0];
    for (size_t i = index + 1; i < count; i++) {
        const void *a = (const char *)entries[index] + key->offset, *b = (const char *)entries[i] + key->offset;
        if (key->type == PROTOBUF_C_TYPE_STRING ? !strcmp(*(const char *const *)a, *(const char *const *)b)
                                                : !memcmp(a, b, size_of(key->type)))
            return false;
    }
    return true;
}

static void print_map(struct printer *printer, const ProtobufCMessage *const *entries, size_t count)
{
    bool is_first = true;
    ty_buf_add_byte(printer->out, '{');
    for (size_t i = 0; i < count; i++) {
        Field *fields = entries[i]->descriptor->fields;
        if (!is_last_of_key(entries, i, count))
            continue;
        if (!is_first)
            ty_buf_add_byte(printer->out, ',');
        is_first = false;
        // A key is a text: what is none gets the quotes here, but for long numbers that have them already.
        size_t start = printer->out->len;
        print_value(printer, &fields[0], (const char *)entries[i] + fields[0].offset);
        if (printer->out->data[start] != '"') {
            ty_buf_add_text(printer->out, "\"\"");
            memmove(printer->out->data + start + 1, printer->out->data + start, printer->out->len - start - 2);
            printer->out->data[start] = '"';
        }
        ty_buf_add_byte(printer->out, ':');
        print_value(printer, &fields[1], (const char *)entries[i] + fields[1].offset);
    }
    ty_buf_add_byte(printer->out, '}');
}

static void print_repeated(struct printer *printer, Field *field, const ProtobufCMessage *message)
{
    size_t count = *(const size_t *)(const void *)((const char *)message + field->quantifier_offset);
    const char *at = *(const char *const *)(const void *)((const char *)message + field->offset);
    if (ty_message_json_is_map(message->descriptor, field)) {
        print_map(printer, (const ProtobufCMessage *const *)(const void *)at, count);
        return;
    }
    ty_buf_add_byte(printer->out, '[');
    for (size_t i = 0; i < count; i++, at += size_of(field->type)) {
        if (i)
            ty_buf_add_byte(printer->out, ',');
        print_value(printer, field, at);
    }
    ty_buf_add_byte(printer->out, ']');
}

static void print_fields(struct printer *printer, const ProtobufCMessage *message, bool is_first)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        Field *field = &message->descriptor->fields[i];
        if (!is_there(field, message))
            continue;
        ty_buf_add_text(printer->out, is_first ? "\"" : ",\"");
        is_first = false;
        if (printer->flags & TY_MESSAGE_JSON_READABLE)
            ty_buf_add_text(printer->out, field->name);
        else
            ty_message_json_name(field->name, printer->out);
        ty_buf_add_text(printer->out, "\":");
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            print_repeated(printer, field, message);
        else
            print_value(printer, field, (const char *)message + field->offset);
    }
}

// ---- messages ----

static void print_time(struct printer *printer, const Google__Protobuf__Timestamp *timestamp)
{
    char text[TY_MESSAGE_JSON_TIME_BYTES];
    ty_message_json_time_print(timestamp->seconds, timestamp->nanos, text);
    ty_buf_add_format(printer->out, "\"%s\"", text);
}

static void print_any(struct printer *printer, const Google__Protobuf__Any *any)
{
    const ProtobufCMessageDescriptor *type = ty_message_json_type(any->type_url);
    ProtobufCMessage *inner = NULL;
    struct ty_err err;
    if (is_default(&any->base.descriptor->fields[0], &any->type_url) && !any->value.len) {
        ty_buf_add_text(printer->out, "{}");
        return;
    }
    ty_buf_add_text(printer->out, "{\"" TY_ANY_TYPE "\":");
    print_string(printer, any->type_url);
    if (printer->depth > TY_LIMIT_WIRE_DEPTH || !type ||
        ty_wire_unpack(type, any->value.data, any->value.len, &inner, &err) < 0) {
        ty_buf_add_text(printer->out, ",\"value\":");
        print_bytes(printer, &any->value);
    } else if (ty_message_json_is_special(type)) {
        ty_buf_add_text(printer->out, ",\"value\":");
        print_message(printer, inner);
    } else {
        print_fields(printer, inner, false);
    }
    if (inner)
        protobuf_c_message_free_unpacked(inner, NULL);
    ty_buf_add_byte(printer->out, '}');
}

static void print_message(struct printer *printer, const ProtobufCMessage *message)
{
    printer->depth++;
    if (!message) { // of a map's entry that came without its value
        ty_buf_add_text(printer->out, "{}");
    } else if (message->descriptor == &google__protobuf__timestamp__descriptor) {
        print_time(printer, (const Google__Protobuf__Timestamp *)message);
    } else if (message->descriptor == &google__protobuf__any__descriptor) {
        print_any(printer, (const Google__Protobuf__Any *)message);
    } else {
        ty_buf_add_byte(printer->out, '{');
        print_fields(printer, message, true);
        ty_buf_add_byte(printer->out, '}');
    }
    printer->depth--;
}

void ty_message_json_print(const ProtobufCMessage *message, unsigned flags, struct ty_buf *out)
{
    struct printer printer = {.out = out, .flags = flags};
    print_message(&printer, message);
}
