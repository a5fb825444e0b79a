#include "producer/letters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/letter.h"
#include "core/wire.h"

static const char *const topics[] = {
    [TY_TOPIC_SUBMIT] = "submit", [TY_TOPIC_CANCEL] = "cancel", [TY_TOPIC_DELETE] = "delete"};
#define TOPICS (sizeof topics / sizeof *topics)
static const char *const commands[] = {[TY_COMMAND_SUBMIT] = "submit", [TY_COMMAND_SUBMIT_CUSTOM] = "submit-custom",
                                       [TY_COMMAND_CANCEL] = "cancel", [TY_COMMAND_DELETE] = "delete"};

// ---- headers ----

const struct ty_topic_header *ty_dead_letter_header(const struct ty_topic_record *letter, const char *name)
{
    for (size_t i = letter->header_count; i-- > 0;)
        if (!strcmp(letter->headers[i].name, name))
            return &letter->headers[i];
    return NULL;
}

static void copy_header(const struct ty_topic_record *letter, const char *name, char *out, size_t size)
{
    const struct ty_topic_header *header = ty_dead_letter_header(letter, name);
    TY_BUF(text);
    if (header && header->value)
        ty_utf8_repair((const char *)header->value, header->len, &text);
    size_t len = ty_utf8_cut(ty_buf_text(&text), text.len, size - 1);
    memcpy(out, ty_buf_text(&text), len);
    out[len] = 0;
}

static int64_t header_number(const struct ty_topic_record *letter, const char *name, int64_t max)
{
    char text[32];
    const char *end;
    int64_t number;
    copy_header(letter, name, text, sizeof text);
    return ty_place_number(text, max, &number, &end) && !*end ? number : -1;
}

bool ty_dead_header_is_own(const char *name)
{
    return strncmp(name, TY_LETTER_ORIGIN, sizeof TY_LETTER_ORIGIN - 1) != 0 && strcmp(name, TY_LETTER_STUB) != 0 &&
           strcmp(name, TY_LETTER_REPLAY_OF) != 0;
}

// ---- the whole ----

const char *ty_dead_letter_topic(enum ty_topic_kind kind)
{
    return topics[kind];
}

static bool find_kind(const char *topic, const char *prefix, enum ty_topic_kind *ret_kind)
{
    size_t len = strlen(prefix), kind = 0;
    while (kind < TOPICS && (strncmp(topic, prefix, len) != 0 || strcmp(topic + len, topics[kind]) != 0))
        kind++;
    if (kind == TOPICS)
        return false;
    *ret_kind = (enum ty_topic_kind)kind;
    return true;
}

static void read_command(const struct ty_topic_record *letter, struct ty_dead_letter_view *view)
{
    struct ty_command command;
    struct ty_err ignored;
    view->command = "none";
    if (ty_command_decode(view->is_ours ? view->kind : TY_TOPIC_SUBMIT, letter->key, letter->key_len, letter->value,
                          letter->value_len, &command, &view->has_job, &ignored) == 0)
        view->command = view->is_ours && !view->is_stub ? commands[command.kind] : "none";
    view->job = command.job_id;
    ty_command_done(&command);
}

void ty_dead_letter_read(const struct ty_topic_record *letter, const char *topic_prefix, struct ty_dead_letter_view *ret_view)
{
    struct ty_dead_letter_view *view = ret_view;
    *view = (struct ty_dead_letter_view){.is_stub = ty_dead_letter_header(letter, TY_LETTER_STUB) != NULL};
    copy_header(letter, TY_LETTER_TOPIC, view->topic, sizeof view->topic);
    view->origin.partition = (int32_t)header_number(letter, TY_LETTER_PARTITION, INT32_MAX);
    view->origin.offset = header_number(letter, TY_LETTER_OFFSET, INT64_MAX - 1);
    copy_header(letter, TY_LETTER_TIME, view->time, sizeof view->time);
    copy_header(letter, TY_LETTER_REASON, view->reason, sizeof view->reason);
    copy_header(letter, TY_LETTER_REPLAY_OF, view->replay_of, sizeof view->replay_of);
    view->is_ours = find_kind(view->topic, topic_prefix, &view->kind);
    read_command(letter, view);
}

int ty_dead_letter_check(const struct ty_dead_letter_view *view, const char *topic_prefix, struct ty_err *err)
{
    if (view->is_stub)
        return ty_err_set(err, TY_EPRECONDITION, "it is a stub: of the record only the beginning was kept");
    if (!*view->topic)
        return ty_err_set(err, TY_EPRECONDITION, "it does not say which topic it comes from (header " TY_LETTER_TOPIC ")");
    if (!view->is_ours)
        return ty_err_set(err, TY_EPRECONDITION, "it comes from the topic %s, which is none of %ssubmit, %scancel, %sdelete",
                          view->topic, topic_prefix, topic_prefix, topic_prefix);
    return 0;
}
