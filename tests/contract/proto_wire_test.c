// MLTrainingService as we compile it is the published one: wire.tsv against the descriptor set that reflection serves, and
// against the tables that protobuf-c packs and unpacks by. Both directions.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "tests/contract/command_output.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define PACKAGE "viam.app.mltraining.v1."
#define STATUS "google.rpc.Status"
#define LINES 1024

extern const unsigned char ty_proto_descriptors[];
extern const size_t ty_proto_descriptors_len;

// ---- sets of lines ----

struct lines {
    char *text[LINES]; // owned
    size_t count;
};

static void lines_add(struct lines *lines, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void lines_add(struct lines *lines, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    assert_true(lines->count < LINES);
    lines->text[lines->count++] = ty_xstrdup(line);
}

static bool lines_have(const struct lines *lines, const char *line)
{
    for (size_t i = 0; i < lines->count; i++)
        if (!strcmp(lines->text[i], line))
            return true;
    return false;
}

static void lines_done(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        free(lines->text[i]);
}

// Takes the lines about the service's own package and the one foreign message that wire.tsv describes.
static void lines_read(struct lines *lines, char *text)
{
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        const char *about = strchr(line, '\t');
        if (*line != '#' && about && (!strncmp(about + 1, PACKAGE, strlen(PACKAGE)) || !strncmp(about + 1, STATUS, strlen(STATUS))))
            lines_add(lines, "%s", line);
    }
}

static void expect_all(const struct lines *lines, const struct lines *in, const char *missing)
{
    unsigned count = 0;
    for (size_t i = 0; i < lines->count; i++)
        if (!lines_have(in, lines->text[i]) && ++count)
            print_error("%s: %s\n", missing, lines->text[i]);
    assert_int_equal(count, 0);
}

static void read_contract(struct lines *lines)
{
    TY_BUF(text);
    read_text(TY_SOURCE_DIR "/tests/contract/wire.tsv", &text);
    lines_read(lines, ty_buf_text(&text));
    assert_int_equal(lines->count, 111);
}

// ---- the descriptor set ----

static void the_descriptor_set(void **state)
{
    (void)state;
    struct lines contract = {0}, compiled = {0};
    TY_BUF(text);
    read_contract(&contract);
    command_succeeds(&text, "%s %s/proto/golden.py print %s/proto/gen/descriptors.binpb", TY_PYTHON, TY_SOURCE_DIR, TY_BINARY_DIR);
    lines_read(&compiled, ty_buf_text(&text));
    expect_all(&contract, &compiled, "published, but not ours");
    expect_all(&compiled, &contract, "ours, but not published");
    lines_done(&contract);
    lines_done(&compiled);
}

// What reflection serves is that file, byte for byte.
static void the_embedded_set(void **state)
{
    (void)state;
    TY_BUF(file);
    read_text(TY_BINARY_DIR "/proto/gen/descriptors.binpb", &file);
    assert_int_equal(file.len, ty_proto_descriptors_len);
    assert_memory_equal(file.data, ty_proto_descriptors, file.len);
}

// ---- protobuf-c's tables ----

static const char *type_name(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: return "string";
    case PROTOBUF_C_TYPE_BOOL: return "bool";
    case PROTOBUF_C_TYPE_INT32: return "int32";
    case PROTOBUF_C_TYPE_MESSAGE: return ((const ProtobufCMessageDescriptor *)field->descriptor)->name;
    case PROTOBUF_C_TYPE_ENUM: return ((const ProtobufCEnumDescriptor *)field->descriptor)->name;
    default: fail_msg("%s: type %d is none that the API has", field->name, field->type);
    }
    return "";
}

// protobuf-c keeps no mark on a map: it is a repeated message inside of the message, named after the field.
static const ProtobufCMessageDescriptor *map_entry(const ProtobufCMessageDescriptor *message,
                                                   const ProtobufCFieldDescriptor *field)
{
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    size_t len = strlen(message->name);
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label != PROTOBUF_C_LABEL_REPEATED)
        return NULL;
    return !strncmp(entry->name, message->name, len) && entry->name[len] == '.' ? entry : NULL;
}

static void add_enum(struct lines *lines, const ProtobufCEnumDescriptor *descriptor)
{
    char head[512];
    snprintf(head, sizeof head, "enum\t%s", descriptor->name);
    if (lines_have(lines, head))
        return;
    lines_add(lines, "%s", head);
    for (unsigned i = 0; i < descriptor->n_values; i++)
        lines_add(lines, "value\t%s\t%d\t%s", descriptor->name, descriptor->values[i].value, descriptor->values[i].name);
}

static void add_message(struct lines *lines, const ProtobufCMessageDescriptor *message);

static void add_field(struct lines *lines, const ProtobufCMessageDescriptor *message, const ProtobufCFieldDescriptor *field)
{
    const ProtobufCMessageDescriptor *entry = map_entry(message, field);
    char type[256];
    const char *label = field->label == PROTOBUF_C_LABEL_REPEATED              ? "repeated"
                        : field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ? "optional"
                                                                     : "single";
    if (entry) {
        label = "map";
        assert_int_equal(entry->n_fields, 2);
        snprintf(type, sizeof type, "map<%s, %s>", type_name(&entry->fields[0]), type_name(&entry->fields[1]));
        if (entry->fields[1].type == PROTOBUF_C_TYPE_MESSAGE)
            add_message(lines, entry->fields[1].descriptor);
    } else {
        snprintf(type, sizeof type, "%s", type_name(field));
        if (field->type == PROTOBUF_C_TYPE_MESSAGE)
            add_message(lines, field->descriptor);
        if (field->type == PROTOBUF_C_TYPE_ENUM)
            add_enum(lines, field->descriptor);
    }
    lines_add(lines, "field\t%s\t%u\t%s\t%s\t%s", message->name, field->id, field->name, type, label);
}

static void add_message(struct lines *lines, const ProtobufCMessageDescriptor *message)
{
    char head[512];
    snprintf(head, sizeof head, "message\t%s", message->name);
    bool is_described = !strncmp(message->name, PACKAGE, strlen(PACKAGE)) || !strcmp(message->name, STATUS);
    if (!is_described || lines_have(lines, head))
        return;
    lines_add(lines, "%s", head);
    for (unsigned i = 0; i < message->n_fields; i++)
        add_field(lines, message, &message->fields[i]);
}

static void the_tables_of_protobuf_c(void **state)
{
    (void)state;
    const ProtobufCServiceDescriptor *service = &viam__app__mltraining__v1__mltraining_service__descriptor;
    struct lines contract = {0}, described = {0}, compiled = {0};
    read_contract(&contract);
    lines_add(&compiled, "service\t%s", service->name);
    for (unsigned i = 0; i < service->n_methods; i++) {
        const ProtobufCMethodDescriptor *method = &service->methods[i];
        lines_add(&compiled, "method\t%s\t%s\t%s\t%s\tunary", service->name, method->name, method->input->name,
                  method->output->name);
        add_message(&compiled, method->input);
        add_message(&compiled, method->output);
    }
    for (size_t i = 0; i < contract.count; i++)
        if (strncmp(contract.text[i], "reserved", strlen("reserved")) != 0) // protobuf-c keeps none
            lines_add(&described, "%s", contract.text[i]);
    expect_all(&described, &compiled, "published, but not in protobuf-c's tables");
    expect_all(&compiled, &described, "in protobuf-c's tables, but not published");
    lines_done(&contract);
    lines_done(&described);
    lines_done(&compiled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_descriptor_set),
        cmocka_unit_test(the_embedded_set),
        cmocka_unit_test(the_tables_of_protobuf_c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
