// trainyard dead-letters list and show.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/wire.h"
#include "producer/cli/letters.h"
#include "producer/cli/message_json.h"
#include "producer/cli/text.h"
#include "producer/cli/when.h"

#define DUMP_BYTES 4096
#define ROW_BYTES 16

// ---- list ----

struct row {
    uint64_t time_us;
    json_t *json;
};

struct list {
    struct ty_letters_filter filter;
    const char *topic_prefix;
    struct row *rows; // the newest that fit; twice as many as are wanted, before those too many are let go
    size_t count, limit;
    uint64_t fitting, examined;
};

static int compare_rows(const void *a, const void *b)
{
    const struct row *first = a, *second = b;
    return first->time_us < second->time_us ? -1 : first->time_us > second->time_us;
}

static void keep_newest(struct list *list)
{
    qsort(list->rows, list->count, sizeof *list->rows, compare_rows);
    size_t excess = list->count > list->limit ? list->count - list->limit : 0;
    for (size_t i = 0; i < excess; i++)
        json_decref(list->rows[i].json);
    list->count -= excess;
    memmove(list->rows, list->rows + excess, list->count * sizeof *list->rows);
}

static int add_row(void *context, const struct ty_topic_record *letter, struct ty_err *err)
{
    struct list *list = context;
    struct ty_dead_letter_view view;
    (void)err;
    list->examined++;
    ty_dead_letter_read(letter, list->topic_prefix, &view);
    if (!ty_letters_filter_allows(&list->filter, letter, &view))
        return 0;
    list->fitting++;
    list->rows[list->count++] = (struct row){letter->time_us, ty_letters_json(letter, &view)};
    if (list->count == 2 * list->limit)
        keep_newest(list);
    return 0;
}

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static void add_place(struct ty_table *table, const char *topic, const json_t *object)
{
    char text[TY_LETTER_TOPIC_BYTES + TY_PLACE_BYTES];
    const json_t *offset = json_object_get(object, "offset");
    snprintf(text, sizeof text, "%s%s%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT, topic, *topic ? " " : "",
             json_integer_value(json_object_get(object, "partition")), json_integer_value(offset));
    ty_table_add(table, TY_COLOR_NONE, json_is_integer(offset) ? text : topic);
}

static void print_rows(const struct ty_cli *cli, const struct list *list)
{
    static const char *const headers[] = {"LETTER", "WRITTEN", "FROM", "COMMAND", "JOB", "REASON"};
    struct ty_table *table = ty_table_new(headers, sizeof headers / sizeof *headers);
    for (size_t i = 0; i < list->count; i++) {
        const json_t *json = list->rows[i].json, *origin = json_object_get(json, "origin");
        add_place(table, "", json);
        ty_table_add(table, TY_COLOR_NONE, member(json, "time"));
        add_place(table, member(origin, "topic"), origin);
        ty_table_add(table, TY_COLOR_NONE, json_is_true(json_object_get(json, "stub")) ? "(stub)" : member(json, "command"));
        ty_table_add(table, TY_COLOR_NONE, member(json, "job"));
        ty_table_add(table, TY_COLOR_NONE, member(json, "reason"));
    }
    if (list->count)
        ty_table_print(table, cli->out, cli->color);
    else
        ty_cli_note(cli, list->examined ? "no letter fits" : "no dead letters");
    ty_table_free(table);
}

static void put_rows(const struct ty_cli *cli, const struct list *list)
{
    json_t *letters = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append(letters, list->rows[i].json);
    ty_cli_put_json(cli, json_pack("{s:o, s:I, s:I}", "letters", letters, "fitting", (json_int_t)list->fitting, "examined",
                                   (json_int_t)list->examined), false);
}

int ty_letters_list(struct ty_cli *cli, const struct ty_letters_options *options, struct ty_err *err)
{
    struct list list = {.topic_prefix = cli->common->topic_prefix, .limit = (size_t)options->limit};
    struct ty_topic_reader *reader;
    if (ty_letters_filter_parse(options->filters, ty_clock_wall_us(), &list.filter, err) < 0 ||
        ty_letters_connect(cli, &reader, err) < 0)
        return -(int)err->code;
    list.rows = ty_xcalloc(2 * list.limit, sizeof *list.rows);
    int rc = ty_topic_reader_each(reader, list.filter.since_us, add_row, &list, err);
    keep_newest(&list);
    if (rc < 0)
        ty_letters_trouble(cli, err);
    else if (cli->common->json)
        put_rows(cli, &list);
    else
        print_rows(cli, &list);
    if (rc == 0 && list.fitting > list.count)
        ty_cli_note(cli, "%" PRIu64 " letters fit, and these are the newest %zu: --limit has more, --filter fewer", list.fitting, list.count);
    for (size_t i = 0; i < list.count; i++)
        json_decref(list.rows[i].json);
    free(list.rows);
    ty_topic_reader_close(reader);
    return rc;
}

// ---- show ----

static json_t *repaired(const void *bytes, size_t len)
{
    TY_BUF(text);
    ty_utf8_repair(bytes, len, &text);
    return json_string(ty_buf_text(&text));
}

// All headers in their order; the same name may be there twice.
static json_t *headers_json(const struct ty_topic_record *letter)
{
    json_t *list = json_array();
    for (size_t i = 0; i < letter->header_count; i++) {
        const struct ty_topic_header *header = &letter->headers[i];
        json_array_append_new(list, json_pack("{s:o, s:o}", "name", repaired(header->name, strlen(header->name)), "value",
                                              header->value ? repaired(header->value, header->len) : json_null()));
    }
    return list;
}

// What the value says, as far as it is a JobCommand at all; NULL: it is none.
static json_t *command_json(const struct ty_topic_record *letter, const struct ty_dead_letter_view *view, struct ty_err *err)
{
    ProtobufCMessage *message;
    if (view->is_stub) {
        ty_err_set(err, TY_EINVALID, "a stub: the value is cut");
        return NULL;
    }
    if (!letter->value_len) {
        ty_err_set(err, TY_EINVALID, "it is %s", letter->value ? "empty" : "null");
        return NULL;
    }
    if (ty_wire_unpack(&trainyard__v1__job_command__descriptor, letter->value, letter->value_len, &message, err) < 0)
        return NULL;
    json_t *json = ty_message_json(message);
    protobuf_c_message_free_unpacked(message, NULL);
    return json;
}

static void print_line(const struct ty_cli *cli, const char *label, const char *text)
{
    TY_BUF(safe);
    ty_text_add_safe(&safe, text, strlen(text), false);
    fprintf(cli->out, "%s%-12s%s%s\n", ty_color_on(TY_COLOR_DIM, cli->color), label, ty_color_off(TY_COLOR_DIM, cli->color),
            ty_buf_text(&safe));
}

static void print_dump(FILE *out, const uint8_t *bytes, size_t len)
{
    size_t shown = len < DUMP_BYTES ? len : DUMP_BYTES;
    for (size_t at = 0; at < shown; at += ROW_BYTES) {
        size_t count = shown - at < ROW_BYTES ? shown - at : ROW_BYTES;
        fprintf(out, "  %06zx ", at);
        for (size_t i = 0; i < ROW_BYTES; i++)
            i < count ? fprintf(out, " %02x", bytes[at + i]) : fputs("   ", out);
        fputs("  ", out);
        for (size_t i = 0; i < count; i++)
            fputc(bytes[at + i] >= 0x20 && bytes[at + i] < 0x7f ? bytes[at + i] : '.', out);
        fputc('\n', out);
    }
    if (shown < len)
        fprintf(out, "  ... %zu bytes more; --json has all of them\n", len - shown);
}

static void print_key(const struct ty_cli *cli, const struct ty_topic_record *letter)
{
    TY_BUF(text);
    if (letter->key)
        ty_text_add_safe(&text, (const char *)letter->key, letter->key_len, false);
    print_line(cli, "key", letter->key ? letter->key_len ? ty_buf_text(&text) : "(empty)" : "(none)");
}

static void print_headers(const struct ty_cli *cli, const struct ty_topic_record *letter)
{
    print_line(cli, "headers", letter->header_count ? "" : "(none)");
    for (size_t i = 0; i < letter->header_count; i++) {
        const struct ty_topic_header *header = &letter->headers[i];
        TY_BUF(safe);
        ty_text_add_safe(&safe, header->name, strlen(header->name), false);
        ty_buf_add_text(&safe, ": ");
        if (header->value)
            ty_text_add_safe(&safe, (const char *)header->value, header->len, false);
        else
            ty_buf_add_text(&safe, "(null)");
        fprintf(cli->out, "  %s\n", ty_buf_text(&safe));
    }
}

static void print_value(const struct ty_cli *cli, const struct ty_topic_record *letter, const json_t *command, const char *why_not)
{
    char size[64];
    snprintf(size, sizeof size, "%zu bytes", letter->value_len);
    print_line(cli, "value", size);
    if (command) {
        TY_BUF(safe);
        char *text = json_dumps(command, JSON_INDENT(2));
        ty_text_add_safe(&safe, text, strlen(text), true);
        fprintf(cli->out, "%s\n", ty_buf_text(&safe));
        free(text);
    } else {
        print_line(cli, "no command", why_not);
        print_dump(cli->out, letter->value, letter->value_len);
    }
}

static void print_letter(const struct ty_cli *cli, const struct ty_topic_record *letter, const struct ty_dead_letter_view *view,
                         const json_t *command, const char *why_not)
{
    char text[TY_LETTER_TOPIC_BYTES + TY_PLACE_BYTES], place[TY_PLACE_BYTES], time[TY_WHEN_BYTES];
    struct ty_err err;
    print_line(cli, "letter", ty_place_format(&letter->place, place));
    print_line(cli, "written", letter->time_us ? ty_when_millis((int64_t)letter->time_us, time) : "(not known)");
    snprintf(text, sizeof text, "%s %s", view->topic, ty_place_format(&view->origin, place));
    print_line(cli, "from", *view->topic ? text : "(not known)");
    print_line(cli, "reason", view->reason);
    print_line(cli, "replay", ty_dead_letter_check(view, cli->common->topic_prefix, &err) < 0 ? err.message : "possible");
    print_key(cli, letter);
    print_headers(cli, letter);
    print_value(cli, letter, command, why_not);
}

static void put_letter(const struct ty_cli *cli, const struct ty_topic_record *letter, const struct ty_dead_letter_view *view,
                       json_t *command)
{
    json_t *json = ty_letters_json(letter, view);
    struct ty_err err;
    json_object_set_new(json, "replayable", json_boolean(ty_dead_letter_check(view, cli->common->topic_prefix, &err) == 0));
    json_object_set_new(json, "headers", headers_json(letter));
    json_object_set_new(json, "key_hex", letter->key ? ty_hex_json(letter->key, letter->key_len) : json_null());
    json_object_set_new(json, "value_hex", letter->value ? ty_hex_json(letter->value, letter->value_len) : json_null());
    json_object_set(json, "message", command ? command : json_null());
    ty_cli_put_json(cli, json, false);
}

static int show_letter(void *context, const struct ty_topic_record *letter, struct ty_err *err)
{
    const struct ty_cli *cli = context;
    struct ty_dead_letter_view view;
    struct ty_err why_not = {0};
    (void)err;
    ty_dead_letter_read(letter, cli->common->topic_prefix, &view);
    json_t *command = command_json(letter, &view, &why_not);
    if (cli->common->json)
        put_letter(cli, letter, &view, command);
    else
        print_letter(cli, letter, &view, command, why_not.message);
    json_decref(command);
    return 0;
}

int ty_letters_show(struct ty_cli *cli, const struct ty_place *place, struct ty_err *err)
{
    struct ty_topic_reader *reader;
    if (ty_letters_connect(cli, &reader, err) < 0)
        return -(int)err->code;
    int rc = ty_topic_reader_at(reader, place, show_letter, cli, err);
    ty_topic_reader_close(reader);
    return rc < 0 ? ty_letters_trouble(cli, err) : 0;
}
