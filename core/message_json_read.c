// JSON to the wire. Values become bytes on the way down, so that nothing has to be allocated by a message's layout and what is
// wrong is found at its place.
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base64.h"
#include "core/limits.h"
#include "core/message_json_internal.h"
#include "core/message_json_number.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

typedef const ProtobufCFieldDescriptor Field;
typedef const ProtobufCMessageDescriptor Type;

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

// Where we are in the text. The chain lies on the stack.
struct place {
    const struct place *up; // NULL: the whole
    const char *name;       // of a member, or of a map's key; NULL: an element of a list
    size_t index;
    unsigned depth; // messages around it
    struct ty_err *err;
};

static int read_message(const struct place *place, Type *type, const json_t *value, struct ty_buf *out);

static void add_path(const struct place *place, struct ty_buf *out)
{
    if (!place->up)
        return;
    add_path(place->up, out);
    if (!place->name)
        ty_buf_add_format(out, "[%zu]", place->index);
    else
        ty_buf_add_format(out, "%s%.128s", out->len ? "." : "", place->name);
}

__attribute__((format(printf, 2, 3))) static int fail(const struct place *place, const char *format, ...)
{
    va_list args;
    char what[256];
    TY_BUF(path);
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    add_path(place, &path);
    return ty_err_set(place->err, TY_EINVALID, "%.600s: %s", path.len ? ty_buf_text(&path) : "message", what);
}

static struct place below(const struct place *up, const char *name, size_t index)
{
    return (struct place){.up = up, .name = name, .index = index, .depth = up->depth, .err = up->err};
}

// ---- scalars ----

static int check(const struct place *place, const char *wrong)
{
    return wrong ? fail(place, "%s", wrong) : 0;
}

static int read_integer(const struct place *place, const json_t *value, uint64_t lowest, uint64_t highest, uint64_t *ret)
{
    return check(place, ty_json_integer(value, lowest, highest, ret));
}

static int read_bool(const struct place *place, const json_t *value, uint64_t *ret_bits)
{
    if (!json_is_boolean(value))
        return fail(place, "is neither true nor false");
    *ret_bits = json_is_true(value);
    return 0;
}

static int read_enum(const struct place *place, const ProtobufCEnumDescriptor *descriptor, const json_t *value,
                     uint64_t *ret_bits)
{
    if (!json_is_string(value))
        return read_integer(place, value, UINT64_C(1) << 31, INT32_MAX, ret_bits);
    const ProtobufCEnumValue *row = protobuf_c_enum_descriptor_get_value_by_name(descriptor, json_string_value(value));
    if (!row)
        return fail(place, "\"%.64s\" is no value of %s", json_string_value(value), descriptor->name);
    *ret_bits = (uint64_t)(int64_t)row->value;
    return 0;
}

static uint64_t zigzag(uint64_t value)
{
    return value << 1 ^ (uint64_t)((int64_t)value >> 63);
}

// A scalar that is no text and no bytes, as it goes on the wire.
static int read_scalar(const struct place *place, Field *field, const json_t *value, uint64_t *ret_bits)
{
    const uint64_t low32 = UINT64_C(1) << 31, low64 = UINT64_C(1) << 63;
    int rc;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SFIXED32: return read_integer(place, value, low32, INT32_MAX, ret_bits);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SFIXED64: return read_integer(place, value, low64, INT64_MAX, ret_bits);
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SINT64:
        rc = field->type == PROTOBUF_C_TYPE_SINT32 ? read_integer(place, value, low32, INT32_MAX, ret_bits)
                                                   : read_integer(place, value, low64, INT64_MAX, ret_bits);
        if (rc == 0)
            *ret_bits = zigzag(*ret_bits);
        return rc;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32: return read_integer(place, value, 0, UINT32_MAX, ret_bits);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64: return read_integer(place, value, 0, UINT64_MAX, ret_bits);
    case PROTOBUF_C_TYPE_FLOAT: return check(place, ty_json_float(value, ret_bits));
    case PROTOBUF_C_TYPE_DOUBLE: return check(place, ty_json_double(value, ret_bits));
    case PROTOBUF_C_TYPE_BOOL: return read_bool(place, value, ret_bits);
    default: return read_enum(place, field->descriptor, value, ret_bits);
    }
}

static unsigned wire_type(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT: return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return WIRE_BYTES;
    default: return WIRE_VARINT;
    }
}

static void add_scalar(struct ty_buf *out, Field *field, uint64_t bits)
{
    unsigned type = wire_type(field->type);
    ty_buf_add_varint(out, (uint64_t)field->id << 3 | type);
    if (type == WIRE_VARINT) {
        ty_buf_add_varint(out, bits);
        return;
    }
    for (unsigned i = 0; i < (type == WIRE_FIXED32 ? 4 : 8); i++)
        ty_buf_add_byte(out, (uint8_t)(bits >> 8 * i));
}

// ---- values ----

static int read_string(const struct place *place, const json_t *value, struct ty_buf *out)
{
    if (!json_is_string(value))
        return fail(place, "is not a string");
    if (strlen(json_string_value(value)) != json_string_length(value))
        return fail(place, "has a NUL in it");
    ty_buf_add(out, json_string_value(value), json_string_length(value));
    return 0;
}

static int read_bytes(const struct place *place, const json_t *value, struct ty_buf *out)
{
    if (!json_is_string(value) || !ty_base64_decode(json_string_value(value), json_string_length(value), out))
        return fail(place, "is not base64 in a string");
    return 0;
}

// Appends the field with its tag. keeps_default: also where it says nothing.
static int read_value(const struct place *place, Field *field, const json_t *value, bool keeps_default, struct ty_buf *out)
{
    uint64_t bits = 0;
    TY_BUF(bytes);
    int rc;
    if (wire_type(field->type) != WIRE_BYTES) {
        if (read_scalar(place, field, value, &bits) < 0)
            return -TY_EINVALID;
        if (bits || keeps_default)
            add_scalar(out, field, bits);
        return 0;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        rc = read_message(place, field->descriptor, value, &bytes);
    else
        rc = field->type == PROTOBUF_C_TYPE_STRING ? read_string(place, value, &bytes) : read_bytes(place, value, &bytes);
    if (rc == 0 && (bytes.len || keeps_default || field->type == PROTOBUF_C_TYPE_MESSAGE))
        ty_buf_add_tag_bytes(out, field->id, bytes.data, bytes.len);
    return rc;
}

static int read_list(const struct place *place, Field *field, const json_t *list, struct ty_buf *out)
{
    if (!json_is_array(list))
        return fail(place, "is not a list");
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct place element = below(place, NULL, i);
        const json_t *value = json_array_get(list, i);
        if (json_is_null(value))
            return fail(&element, "is null");
        if (read_value(&element, field, value, true, out) < 0)
            return -TY_EINVALID;
    }
    return 0;
}

// A key is a text in JSON, whatever its type.
static int read_key(const struct place *place, Field *field, const char *key, struct ty_buf *out)
{
    json_t *value = field->type != PROTOBUF_C_TYPE_BOOL ? json_string(key)
                    : !strcmp(key, "true")              ? json_true()
                    : !strcmp(key, "false")             ? json_false()
                                                        : NULL;
    if (!value)
        return fail(place, "is no key: neither true nor false");
    int rc = read_value(place, field, value, true, out);
    json_decref(value);
    return rc;
}

static int read_map(const struct place *place, Field *field, json_t *object, struct ty_buf *out)
{
    Type *entry = field->descriptor;
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return fail(place, "is not an object");
    if (place->depth >= TY_LIMIT_WIRE_DEPTH)
        return fail(place, "more than %d messages inside each other", TY_LIMIT_WIRE_DEPTH);
    json_object_foreach(object, key, value)
    {
        struct place member = below(place, key, 0);
        TY_BUF(bytes);
        member.depth++; // on the wire each entry is a message
        if (json_is_null(value))
            return fail(&member, "is null");
        if (read_key(&member, &entry->fields[0], key, &bytes) < 0 ||
            read_value(&member, &entry->fields[1], value, true, &bytes) < 0)
            return -TY_EINVALID;
        ty_buf_add_tag_bytes(out, field->id, bytes.data, bytes.len);
    }
    return 0;
}

// ---- messages ----

static bool is_name_of(const char *key, Field *field)
{
    TY_BUF(name);
    if (!strcmp(key, field->name))
        return true;
    ty_message_json_name(field->name, &name);
    return !strcmp(key, ty_buf_text(&name));
}

static int find_field(const struct place *member, Type *type, unsigned *ret_index)
{
    for (unsigned i = 0; i < type->n_fields; i++)
        if (is_name_of(member->name, &type->fields[i])) {
            *ret_index = i;
            return 0;
        }
    return fail(member, "%s has no such field", type->name);
}

struct member {
    const char *key;
    json_t *value;
};

// Puts each member of the object to its field.
static int sort_members(const struct place *place, Type *type, json_t *object, bool is_any, struct member *members)
{
    const char *key;
    json_t *value;
    unsigned index = 0;
    json_object_foreach(object, key, value)
    {
        struct place member = below(place, key, 0);
        if (is_any && !strcmp(key, TY_ANY_TYPE))
            continue;
        if (find_field(&member, type, &index) < 0)
            return -TY_EINVALID;
        if (members[index].key)
            return fail(&member, "is given twice, also as \"%s\"", members[index].key);
        members[index] = (struct member){key, value};
    }
    return 0;
}

static int check_oneof(const struct place *member, Type *type, unsigned index, const struct member *members)
{
    Field *field = &type->fields[index];
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return 0;
    for (unsigned i = 0; i < index; i++) {
        Field *other = &type->fields[i];
        if (other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && other->quantifier_offset == field->quantifier_offset &&
            members[i].key && !json_is_null(members[i].value))
            return fail(member, "excludes \"%s\"", members[i].key);
    }
    return 0;
}

static int read_fields(const struct place *place, Type *type, json_t *object, bool is_any, struct ty_buf *out)
{
    struct member *members TY_FREE = ty_xcalloc(type->n_fields, sizeof *members);
    if (sort_members(place, type, object, is_any, members) < 0)
        return -TY_EINVALID;
    for (unsigned i = 0; i < type->n_fields; i++) {
        Field *field = &type->fields[i];
        struct place member = below(place, members[i].key, 0);
        int rc;
        if (!members[i].key || json_is_null(members[i].value))
            continue;
        if (check_oneof(&member, type, i, members) < 0)
            return -TY_EINVALID;
        if (ty_message_json_is_map(type, field))
            rc = read_map(&member, field, members[i].value, out);
        else if (field->label == PROTOBUF_C_LABEL_REPEATED)
            rc = read_list(&member, field, members[i].value, out);
        else
            rc = read_value(&member, field, members[i].value, field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF, out);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_time(const struct place *place, const json_t *value, struct ty_buf *out)
{
    int64_t seconds;
    int32_t nanos;
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value) ||
        !ty_message_json_time_read(json_string_value(value), &seconds, &nanos))
        return fail(place, "is not a time like \"2026-11-24T18:42:24.5Z\"");
    if (seconds)
        ty_buf_add_tag_varint(out, 1, (uint64_t)seconds);
    if (nanos)
        ty_buf_add_tag_varint(out, 2, (uint64_t)nanos);
    return 0;
}

static int read_any(const struct place *place, json_t *object, struct ty_buf *out)
{
    struct place type_place = below(place, TY_ANY_TYPE, 0), value_place = below(place, "value", 0);
    TY_BUF(bytes);
    int rc;
    if (!json_object_size(object))
        return 0;
    const char *url = json_string_value(json_object_get(object, TY_ANY_TYPE));
    if (!url)
        return fail(&type_place, "is missing or not a string");
    Type *type = ty_message_json_type(url);
    if (!type)
        return fail(&type_place, "\"%.128s\" is no type that is known here", url);
    if (!ty_message_json_is_special(type)) {
        rc = read_fields(place, type, object, true, &bytes);
    } else {
        json_t *value = json_object_get(object, "value");
        rc = !value || json_object_size(object) != 2 ? fail(place, "takes a \"" TY_ANY_TYPE "\" and a \"value\"")
                                                      : read_message(&value_place, type, value, &bytes);
    }
    if (rc < 0)
        return rc;
    ty_buf_add_tag_bytes(out, 1, url, strlen(url));
    if (bytes.len)
        ty_buf_add_tag_bytes(out, 2, bytes.data, bytes.len);
    return 0;
}

static int read_message(const struct place *place, Type *type, const json_t *value, struct ty_buf *out)
{
    struct place inside = *place;
    if (place->depth > TY_LIMIT_WIRE_DEPTH)
        return fail(place, "more than %d messages inside each other", TY_LIMIT_WIRE_DEPTH);
    inside.depth++;
    if (type == &google__protobuf__timestamp__descriptor)
        return read_time(place, value, out);
    if (!json_is_object(value))
        return fail(place, "is not an object");
    if (type == &google__protobuf__any__descriptor)
        return read_any(&inside, (json_t *)value, out);
    return read_fields(&inside, type, (json_t *)value, false, out);
}

int ty_message_json_read(const ProtobufCMessageDescriptor *descriptor, const char *text, size_t len, struct ty_buf *out,
                         struct ty_err *err)
{
    json_error_t where;
    struct place whole = {.err = err};
    size_t start = out->len;
    if (len > TY_MESSAGE_JSON_BYTES)
        return ty_err_set(err, TY_EINVALID, "message: has %zu bytes of JSON; at most %d are allowed", len, TY_MESSAGE_JSON_BYTES);
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &where);
    if (!value)
        return ty_err_set(err, TY_EINVALID, "message: not JSON: line %d: %s", where.line, where.text);
    int rc = read_message(&whole, descriptor, value, out);
    json_decref(value);
    if (rc < 0)
        out->len = start;
    return rc;
}
