#include "core/wire.h"

#include <string.h>

#include "core/buf.h"
#include "core/limits.h"

// One message on the way down. The path of an error is worked out from these only when there is an error.
struct frame {
    const ProtobufCFieldDescriptor *field; // NULL: unknown
    uint32_t number;                       // of the field that is being read; 0: before its tag
    const uint8_t *start, *tag;            // of the message and of that field
};

struct walk {
    const uint8_t *at, *end;
    struct frame frames[TY_LIMIT_WIRE_DEPTH + 1];
    size_t depth; // frames in use
    struct ty_err *err;
};

static size_t count_before(const struct frame *frame);

static int fail(struct walk *walk, const char *what)
{
    TY_BUF(path);
    for (size_t i = 0; i < walk->depth; i++) {
        const struct frame *frame = &walk->frames[i];
        if (!frame->number)
            break;
        if (i)
            ty_buf_add_text(&path, ".");
        if (frame->field)
            ty_buf_add_text(&path, frame->field->name);
        else
            ty_buf_add_format(&path, "(field %u)", frame->number);
        if (frame->field && frame->field->label == PROTOBUF_C_LABEL_REPEATED)
            ty_buf_add_format(&path, "[%zu]", count_before(frame));
    }
    return ty_err_set(walk->err, TY_EINVALID, "%s: %s", path.len ? ty_buf_text(&path) : "message", what);
}

static int read_varint(struct walk *walk, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (walk->at == walk->end)
            return fail(walk, "the bytes end in the middle of a number");
        uint8_t byte = *walk->at++;
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret_value = value;
            return 0;
        }
    }
    return fail(walk, "a number is longer than 64 bits");
}

// Tags and lengths: at most 5 bytes, as protobuf-c takes them.
static int read_short(struct walk *walk, uint64_t *ret_value)
{
    const uint8_t *start = walk->at;
    if (read_varint(walk, ret_value) < 0)
        return -TY_EINVALID;
    return walk->at - start > 5 ? fail(walk, "a tag or a length is longer than 5 bytes") : 0;
}

static int read_bytes(struct walk *walk, const uint8_t **ret_bytes, size_t *ret_len)
{
    uint64_t len = 0;
    if (read_short(walk, &len) < 0)
        return -TY_EINVALID;
    if (len > (size_t)(walk->end - walk->at))
        return fail(walk, "the bytes end inside a field");
    *ret_bytes = walk->at;
    *ret_len = (size_t)len;
    walk->at += len;
    return 0;
}

static int skip_value(struct walk *walk, unsigned wire_type)
{
    const uint8_t *bytes;
    size_t len = wire_type == 1 ? 8 : 4;
    uint64_t number;
    switch (wire_type) {
    case 0: return read_varint(walk, &number);
    case 2: return read_bytes(walk, &bytes, &len);
    case 1:
    case 5:
        if ((size_t)(walk->end - walk->at) < len)
            return fail(walk, "the bytes end inside a field");
        walk->at += len;
        return 0;
    case 3:
    case 4: return fail(walk, "groups are not supported");
    default: return fail(walk, "an unknown wire type");
    }
}

bool ty_wire_next(const uint8_t *bytes, size_t len, size_t *at, uint32_t *ret_field, const uint8_t **ret_bytes, size_t *ret_len)
{
    struct ty_err err;
    struct walk walk = {.at = bytes + *at, .end = bytes + len, .err = &err};
    uint64_t tag = 0, number = 0;
    if (*at >= len || read_short(&walk, &tag) < 0)
        return false;
    *ret_field = (uint32_t)(tag >> 3);
    *ret_bytes = NULL;
    *ret_len = 0;
    if ((tag & 7) == 2) {
        if (read_bytes(&walk, ret_bytes, ret_len) < 0)
            return false;
    } else if ((tag & 7) == 0) {
        if (read_varint(&walk, &number) < 0)
            return false;
        *ret_len = (size_t)number;
    } else if (skip_value(&walk, tag & 7) < 0) {
        return false;
    }
    *at = (size_t)(walk.at - bytes);
    return true;
}

// How often the frame's field came before its present place, in bytes that have been walked already.
static size_t count_before(const struct frame *frame)
{
    struct ty_err err;
    struct walk again = {.at = frame->start, .end = frame->tag, .err = &err};
    size_t count = 0;
    uint64_t tag = 0;
    while (again.at < again.end && read_short(&again, &tag) == 0 && skip_value(&again, tag & 7) == 0)
        count += tag >> 3 == frame->number;
    return count;
}

static unsigned wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return 2;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return 1;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT: return 5;
    default: return 0;
    }
}

static int check_message(struct walk *walk, const ProtobufCMessageDescriptor *descriptor);

// Walks the message in `len` bytes at `bytes`, then goes on where it was.
static int check_inside(struct walk *walk, const uint8_t *bytes, size_t len, const ProtobufCMessageDescriptor *descriptor)
{
    const uint8_t *at = walk->at, *end = walk->end;
    walk->at = bytes;
    walk->end = bytes + len;
    int rc = check_message(walk, descriptor);
    walk->at = at;
    walk->end = end;
    return rc;
}

static int check_packed(struct walk *walk, const uint8_t *bytes, size_t len, unsigned wire_type)
{
    const uint8_t *at = walk->at, *end = walk->end;
    int rc = 0;
    walk->at = bytes;
    walk->end = bytes + len;
    while (rc == 0 && walk->at < walk->end)
        rc = skip_value(walk, wire_type);
    walk->at = at;
    walk->end = end;
    return rc;
}

static int check_field(struct walk *walk, const ProtobufCFieldDescriptor *field, unsigned wire_type)
{
    unsigned expected = wire_type_of(field->type);
    const uint8_t *bytes;
    size_t len;
    if (wire_type == 2 && expected != 2 && field->label == PROTOBUF_C_LABEL_REPEATED) {
        if (read_bytes(walk, &bytes, &len) < 0)
            return -TY_EINVALID;
        return check_packed(walk, bytes, len, expected);
    }
    if (wire_type != expected)
        return fail(walk, "the wire type does not fit the field");
    if (expected != 2)
        return skip_value(walk, wire_type);
    if (read_bytes(walk, &bytes, &len) < 0)
        return -TY_EINVALID;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return check_inside(walk, bytes, len, field->descriptor);
    if (field->type == PROTOBUF_C_TYPE_STRING && memchr(bytes, 0, len))
        return fail(walk, "a NUL byte inside a string");
    if (field->type == PROTOBUF_C_TYPE_STRING && !ty_utf8_is_valid((const char *)bytes, len))
        return fail(walk, "not valid UTF-8");
    return 0;
}

static int check_message(struct walk *walk, const ProtobufCMessageDescriptor *descriptor)
{
    if (walk->depth > TY_LIMIT_WIRE_DEPTH)
        return fail(walk, "messages are nested too deep");
    struct frame *frame = &walk->frames[walk->depth++];
    *frame = (struct frame){.start = walk->at};
    while (walk->at < walk->end) {
        uint64_t tag = 0;
        frame->number = 0;
        frame->tag = walk->at;
        if (read_short(walk, &tag) < 0)
            return -TY_EINVALID;
        uint64_t number = tag >> 3;
        if (number == 0 || number > 0x1fffffff)
            return fail(walk, "a field number out of range");
        frame->number = (uint32_t)number;
        frame->field = protobuf_c_message_descriptor_get_field(descriptor, frame->number);
        if (frame->field ? check_field(walk, frame->field, tag & 7) < 0 : skip_value(walk, tag & 7) < 0)
            return -TY_EINVALID;
    }
    walk->depth--;
    return 0;
}

int ty_wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len, struct ty_err *err)
{
    if (!len)
        return 0; // bytes may be NULL
    struct walk walk = {.at = bytes, .end = bytes + len, .err = err};
    return check_message(&walk, descriptor);
}

int ty_wire_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
                   ProtobufCMessage **ret_message, struct ty_err *err)
{
    if (ty_wire_check(descriptor, bytes, len, err) < 0)
        return -(int)err->code;
    static const uint8_t empty;
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, NULL, len, len ? bytes : &empty);
    if (!message)
        return ty_err_set(err, TY_EINVALID, "message: malformed protobuf");
    *ret_message = message;
    return 0;
}

// Length of the valid character at `at`, or 0.
static size_t character(const uint8_t *at, size_t left)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (at[0] < 0x80)
        return 1;
    size_t len = at[0] >= 0xf0 && at[0] < 0xf5 ? 4 : at[0] >= 0xe0 && at[0] < 0xf0 ? 3 : at[0] >= 0xc2 && at[0] < 0xe0 ? 2 : 0;
    if (!len || len > left)
        return 0;
    uint32_t code = at[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    return code >= lowest[len] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? len : 0;
}

size_t ty_utf8_char(const char *bytes, size_t len)
{
    return len ? character((const uint8_t *)bytes, len) : 0;
}

bool ty_utf8_is_valid(const char *bytes, size_t len)
{
    const uint8_t *at = (const uint8_t *)bytes;
    for (size_t i = 0, step; i < len; i += step)
        if (!(step = character(at + i, len - i)))
            return false;
    return true;
}

void ty_utf8_repair(const char *bytes, size_t len, struct ty_buf *out)
{
    const uint8_t *at = (const uint8_t *)bytes;
    for (size_t i = 0; i < len;) {
        size_t step = character(at + i, len - i);
        if (!step) {
            ty_buf_add(out, "\xef\xbf\xbd", 3);
            i++;
            continue;
        }
        if (at[i])
            ty_buf_add(out, at + i, step);
        i += step;
    }
}

size_t ty_utf8_cut(const char *bytes, size_t len, size_t max)
{
    if (len <= max)
        return len;
    // No character has more than three bytes behind its first: what goes on longer is not UTF-8 and is cut anywhere.
    size_t cut = max;
    while (cut && max - cut < 3 && ((uint8_t)bytes[cut] & 0xc0) == 0x80)
        cut--;
    return ((uint8_t)bytes[cut] & 0xc0) == 0x80 ? max : cut;
}
