// core/wire: what is refused and how it is named; and that protobuf-c unpacks whatever is let through.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/limits.h"
#include "core/wire.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "trainyard/v1/command.pb-c.h"

#define COMMAND (&trainyard__v1__job_command__descriptor)

// One case: bytes given as a string literal without its NUL, and what the error says; NULL: none.
struct wire_case {
    const char *bytes;
    size_t len;
    const char *message;
};
#define BYTES(literal) (literal), sizeof(literal) - 1

static void check_cases(const ProtobufCMessageDescriptor *descriptor, const struct wire_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ty_err err = {0};
        // A copy of its own, so that reading one byte too far is seen.
        uint8_t *bytes TY_FREE = ty_xmalloc(cases[i].len);
        memcpy(bytes, cases[i].bytes, cases[i].len);
        int rc = ty_wire_check(descriptor, bytes, cases[i].len, &err);
        if (cases[i].message) {
            assert_string_equal(err.message, cases[i].message);
            assert_int_equal(rc, -TY_EINVALID);
        } else if (rc != 0) {
            fail_msg("case %zu: %s", i, err.message);
        }
    }
}

static void commands(void **state)
{
    (void)state;
    static const struct wire_case cases[] = {
        {BYTES(""), NULL},
        {BYTES("\x08\x01"), NULL},
        {BYTES("\x08"), "format_version: the bytes end in the middle of a number"},
        {BYTES("\x08\x80"), "format_version: the bytes end in the middle of a number"},
        {BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), NULL},
        {BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), "format_version: a number is longer than 64 bits"},
        {BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "format_version: a number is longer than 64 bits"},
        {BYTES("\x80"), "message: the bytes end in the middle of a number"},
        {BYTES("\x88\x80\x80\x80\x80\x00\x01"), "message: a tag or a length is longer than 5 bytes"},
        {BYTES("\x00\x01"), "message: a field number out of range"},
        {BYTES("\x80\x80\x80\x80\x10\x01"), "message: a field number out of range"},
        {BYTES("\x0a\x01x"), "format_version: the wire type does not fit the field"},
        {BYTES("\x0d\x01\x02\x03\x04"), "format_version: the wire type does not fit the field"},
        {BYTES("\x18\x01"), "job_id: the wire type does not fit the field"},
        {BYTES("\x1a\x03" "abc"), NULL},
        {BYTES("\x1a\x04" "abc"), "job_id: the bytes end inside a field"},
        {BYTES("\x1a\xff\xff\xff\xff\x0f" "abc"), "job_id: the bytes end inside a field"},
        {BYTES("\x1a\x83\x80\x80\x80\x80\x00" "abc"), "job_id: a tag or a length is longer than 5 bytes"},
        {BYTES("\x1a\x03" "a\0c"), "job_id: a NUL byte inside a string"},
        {BYTES("\x1a\x02" "\xc3("), "job_id: not valid UTF-8"},
        {BYTES("\x12\x03" "a\0\xff"), NULL}, // command_id is bytes
        // Unknown fields: well-formed ones pass.
        {BYTES("\xa0\x06\x05"), NULL},
        {BYTES("\xa1\x06" "12345678"), NULL},
        {BYTES("\xa1\x06" "1234567"), "(field 100): the bytes end inside a field"},
        {BYTES("\xa2\x06\x02\xff\x00"), NULL},
        {BYTES("\xa2\x06\x02\xff"), "(field 100): the bytes end inside a field"},
        {BYTES("\xa5\x06" "1234"), NULL},
        {BYTES("\xa5\x06" "123"), "(field 100): the bytes end inside a field"},
        {BYTES("\xa3\x06\xa4\x06"), "(field 100): groups are not supported"},
        {BYTES("\xa6\x06"), "(field 100): an unknown wire type"},
        {BYTES("\xa7\x06"), "(field 100): an unknown wire type"},
        {BYTES("\x1b\x1c"), "job_id: the wire type does not fit the field"},
        // Inside: SubmitTrainingJobRequest is field 10, its tags are field 6.
        {BYTES("\x52\x08\x32\x02ok\x32\x02\xff\xff"), "submit.tags[1]: not valid UTF-8"},
        {BYTES("\x52\x0c\x32\x02ok\x28\x01\x32\x00\x32\x02\xff\xff"), "submit.tags[2]: not valid UTF-8"},
        {BYTES("\x52\x05\x32\x04" "abc"), "submit.tags[0]: the bytes end inside a field"},
        {BYTES("\x52\x02\x32\x04" "abcd"), "submit.tags[0]: the bytes end inside a field"},
        {BYTES("\x52\x01\x80"), "submit: the bytes end in the middle of a number"},
        {BYTES("\x52\x03\xa2\x06\x05"), "submit.(field 100): the bytes end inside a field"},
        // A map is a repeated message: JobOptions is field 6, its labels are field 6.
        {BYTES("\x32\x0c\x32\x02\x0a\x00\x32\x06\x0a\x01k\x12\x01\xff"), "options.labels[1].value: not valid UTF-8"},
        // A number where a timestamp belongs, and numbers in a timestamp.
        {BYTES("\x20\x01"), "issued_at: the wire type does not fit the field"},
        {BYTES("\x22\x04\x08\x05\x10\x07"), NULL},
    };
    check_cases(COMMAND, cases, sizeof cases / sizeof *cases);
}

// A message of every kind of field that no message of ours has, inside itself.
struct node {
    ProtobufCMessage base;
};
static const ProtobufCMessageDescriptor node_descriptor;
#define NODE_FIELD(name_, id_, label_, type_, inside_, flags_)                                     \
    {.name = name_, .id = id_, .label = label_, .type = type_, .descriptor = inside_, .flags = flags_}
static const ProtobufCFieldDescriptor node_fields[] = {
    NODE_FIELD("child", 1, PROTOBUF_C_LABEL_NONE, PROTOBUF_C_TYPE_MESSAGE, &node_descriptor, 0),
    NODE_FIELD("fixed32s", 2, PROTOBUF_C_LABEL_REPEATED, PROTOBUF_C_TYPE_FIXED32, NULL, PROTOBUF_C_FIELD_FLAG_PACKED),
    NODE_FIELD("doubles", 3, PROTOBUF_C_LABEL_REPEATED, PROTOBUF_C_TYPE_DOUBLE, NULL, 0),
    NODE_FIELD("numbers", 4, PROTOBUF_C_LABEL_REPEATED, PROTOBUF_C_TYPE_SINT64, NULL, PROTOBUF_C_FIELD_FLAG_PACKED),
    NODE_FIELD("flag", 5, PROTOBUF_C_LABEL_NONE, PROTOBUF_C_TYPE_BOOL, NULL, 0),
    NODE_FIELD("single", 6, PROTOBUF_C_LABEL_NONE, PROTOBUF_C_TYPE_FLOAT, NULL, 0),
};
static const ProtobufCIntRange node_ranges[] = {{1, 0}, {0, 6}};
static const ProtobufCMessageDescriptor node_descriptor = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "Node",
    .sizeof_message = sizeof(struct node),
    .n_fields = 6,
    .fields = node_fields,
    .n_field_ranges = 1,
    .field_ranges = node_ranges,
};

static void kinds_of_fields(void **state)
{
    (void)state;
    static const struct wire_case cases[] = {
        {BYTES("\x12\x08" "12345678"), NULL},
        {BYTES("\x12\x00"), NULL},
        {BYTES("\x12\x07" "1234567"), "fixed32s[0]: the bytes end inside a field"},
        {BYTES("\x15" "1234"), NULL}, // not packed
        {BYTES("\x10\x01"), "fixed32s[0]: the wire type does not fit the field"},
        {BYTES("\x1a\x10" "1234567812345678"), NULL}, // packed where it need not be
        {BYTES("\x1a\x0f" "123456781234567"), "doubles[0]: the bytes end inside a field"},
        {BYTES("\x22\x03\x01\x80\x01"), NULL},
        {BYTES("\x20\x01\x22\x02\x01\x80"), "numbers[1]: the bytes end in the middle of a number"},
        {BYTES("\x28\x01"), NULL},
        {BYTES("\x2a\x01\x01"), "flag: the wire type does not fit the field"}, // packed, but not repeated
        {BYTES("\x35" "123"), "single: the bytes end inside a field"},
    };
    check_cases(&node_descriptor, cases, sizeof cases / sizeof *cases);
}

static void nesting_is_limited(void **state)
{
    (void)state;
    struct ty_err err;
    TY_BUF(inner);
    for (int depth = 1; depth <= TY_LIMIT_WIRE_DEPTH; depth++) {
        TY_BUF(outer);
        ty_buf_add_tag_bytes(&outer, 1, inner.data, inner.len);
        ty_buf_clear(&inner);
        ty_buf_add(&inner, outer.data, outer.len);
    }
    assert_int_equal(ty_wire_check(&node_descriptor, inner.data, inner.len, &err), 0);
    TY_BUF(outer);
    ty_buf_add_tag_bytes(&outer, 1, inner.data, inner.len);
    assert_int_equal(ty_wire_check(&node_descriptor, outer.data, outer.len, &err), -TY_EINVALID);
    assert_non_null(strstr(err.message, "child.child.child"));
    assert_non_null(strstr(err.message, ": messages are nested too deep"));
}

static void packed_numbers_unpack(void **state)
{
    (void)state;
    static const uint8_t bytes[] = "\x12\x03\x01\xac\x02\x10\x07";
    ProtobufCMessage *message;
    struct ty_err err;
    assert_int_equal(ty_wire_unpack(&grpc__reflection__v1__extension_number_response__descriptor, bytes, sizeof bytes - 1,
                                    &message, &err), 0);
    const Grpc__Reflection__V1__ExtensionNumberResponse *response = (const void *)message;
    assert_int_equal(response->n_extension_number, 3);
    assert_int_equal(response->extension_number[1], 300);
    assert_int_equal(response->extension_number[2], 7);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void make_command(struct ty_buf *out)
{
    char *tags[] = {"cat", "dog \xf0\x9f\x90\x95"};
    Trainyard__V1__JobCommand command = TRAINYARD__V1__JOB_COMMAND__INIT;
    Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    Trainyard__V1__JobOptions__LabelsEntry label = TRAINYARD__V1__JOB_OPTIONS__LABELS_ENTRY__INIT, *labels[] = {&label};
    Viam__App__Mltraining__V1__SubmitTrainingJobRequest submit = VIAM__APP__MLTRAINING__V1__SUBMIT_TRAINING_JOB_REQUEST__INIT;
    Google__Protobuf__Timestamp time = {PROTOBUF_C_MESSAGE_INIT(&google__protobuf__timestamp__descriptor), 1700000000, 5};
    label.key = "team";
    label.value = "vision";
    options.priority = 3;
    options.n_labels = 1;
    options.labels = labels;
    submit.organization_id = "org-1";
    submit.model_name = "digits";
    submit.n_tags = 2;
    submit.tags = tags;
    command.format_version = 1;
    command.job_id = "00112233-4455-6677-8899-aabbccddeeff";
    command.command_id = (ProtobufCBinaryData){3, (uint8_t *)"\x00\x01\xff"};
    command.issued_at = &time;
    command.options = &options;
    command.command_case = TRAINYARD__V1__JOB_COMMAND__COMMAND_SUBMIT;
    command.submit = &submit;
    size_t size = protobuf_c_message_get_packed_size(&command.base);
    protobuf_c_message_pack(&command.base, ty_buf_reserve(out, size));
    out->len += size;
}

// What the check lets through, protobuf-c must take, and it must not lose a byte of a string.
static bool unpacks(const uint8_t *bytes, size_t len)
{
    struct ty_err err;
    ProtobufCMessage *message = NULL;
    int checked = ty_wire_check(COMMAND, bytes, len, &err);
    int unpacked = ty_wire_unpack(COMMAND, bytes, len, &message, &err);
    assert_int_equal(checked, unpacked);
    if (unpacked < 0)
        return false;
    const Trainyard__V1__JobCommand *command = (const void *)message;
    assert_true(ty_utf8_is_valid(command->job_id, strlen(command->job_id)));
    protobuf_c_message_free_unpacked(message, NULL);
    return true;
}

static void every_truncation(void **state)
{
    (void)state;
    TY_BUF(buf);
    size_t good = 0;
    make_command(&buf);
    for (size_t len = 0; len <= buf.len; len++) {
        uint8_t *bytes TY_FREE = ty_xmalloc(len);
        memcpy(bytes, buf.data, len);
        good += unpacks(bytes, len);
    }
    assert_int_equal(good, 7); // nothing, and behind each of its six top-level fields
}

static void random_changes(void **state)
{
    (void)state;
    TY_BUF(buf);
    unsigned seed = 20261123, good = 0;
    make_command(&buf);
    for (int round = 0; round < 50000; round++) {
        uint8_t *bytes TY_FREE = ty_xmalloc(buf.len);
        memcpy(bytes, buf.data, buf.len);
        for (int changes = rand_r(&seed) % 4; changes >= 0; changes--)
            bytes[(size_t)rand_r(&seed) % buf.len] = (uint8_t)rand_r(&seed);
        good += unpacks(bytes, buf.len);
    }
    assert_true(good > 1000 && good < 49000); // both ways were taken
}

// ---- UTF-8 ----

static size_t encode(uint32_t code, char out[4])
{
    size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(leads[len] | code);
    return len;
}

static void utf8_takes_every_character(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x120000; code++) {
        char bytes[4];
        size_t len = encode(code, bytes);
        bool exists = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        if (ty_utf8_char(bytes, len) != (exists ? len : 0) || (len > 1 && ty_utf8_char(bytes, len - 1)))
            fail_msg("U+%04X", code);
    }
}

static void utf8_takes_nothing_else(void **state)
{
    (void)state;
    static const uint8_t tails[] = {0x7f, 0x80, 0xbf, 0xc0};
    size_t twos = 0, threes = 0, fours = 0;
    char b[4];
    for (unsigned i = 0; i < 0x10000; i++) {
        b[0] = (char)(i >> 8);
        b[1] = (char)i;
        twos += ty_utf8_char(b, 2) == 2;
        for (size_t j = 0; j < 16; j++) {
            b[2] = (char)tails[j / 4];
            b[3] = (char)tails[j % 4];
            fours += ty_utf8_char(b, 4) == 4;
            threes += j % 4 == 0 && ty_utf8_char(b, 3) == 3;
        }
    }
    assert_int_equal(twos, 0x800 - 0x80);
    assert_int_equal(threes, (0x10000 - 0x800 - 0x800) / 64 * 2); // two of 64 tails were tried
    assert_int_equal(fours, 0x100000 / 4096 * 4);
    assert_int_equal(ty_utf8_char("", 0), 0);
    assert_true(ty_utf8_is_valid("", 0));
    assert_true(ty_utf8_is_valid("a\0b", 3));
    assert_false(ty_utf8_is_valid("ab\xe2\x82", 4));
}

static void utf8_repair(void **state)
{
    (void)state;
    TY_BUF(buf);
    ty_utf8_repair("a\0b\xff\xc3\xa9\xe2\x82", 8, &buf);
    assert_string_equal(ty_buf_text(&buf), "ab\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd");
}

static void utf8_cut(void **state)
{
    (void)state;
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x9a\x82z"; // characters end at 1, 3, 6, 10, 11
    static const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
    for (size_t max = 0; max < sizeof cuts / sizeof *cuts; max++)
        assert_int_equal(ty_utf8_cut(text, sizeof text - 1, max), cuts[max]);
    // Bytes that are no text make progress, too.
    char tail[100];
    memset(tail, 0x80, sizeof tail);
    for (size_t max = 1; max < sizeof tail; max++)
        assert_true(ty_utf8_cut(tail, sizeof tail, max) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands),
        cmocka_unit_test(kinds_of_fields),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(packed_numbers_unpack),
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(random_changes),
        cmocka_unit_test(utf8_takes_every_character),
        cmocka_unit_test(utf8_takes_nothing_else),
        cmocka_unit_test(utf8_repair),
        cmocka_unit_test(utf8_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
