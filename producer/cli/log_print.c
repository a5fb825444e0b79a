// How an entry of a log looks.
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "producer/cli/follow_internal.h"
#include "producer/cli/text.h"
#include "producer/cli/when.h"

typedef Viam__App__Mltraining__V1__TrainingJobLogEntry Entry;

static enum ty_color level_color(const char *level)
{
    switch (level[0] | 0x20) {
    case 'e':
    case 'f':
    case 'c': return TY_COLOR_RED;
    case 'w': return TY_COLOR_YELLOW;
    case 'd':
    case 't': return TY_COLOR_DIM;
    default: return TY_COLOR_NONE;
    }
}

static void print_text(const Entry *entry, FILE *out, bool use_color)
{
    char time[TY_WHEN_BYTES] = "-";
    enum ty_color color = level_color(entry->level);
    TY_BUF(level);
    TY_BUF(message);
    if (entry->time)
        ty_when_millis(ty_when_us(entry->time), time);
    ty_text_add_safe(&level, entry->level, strlen(entry->level), false);
    ty_text_add_safe(&message, entry->message, strlen(entry->message), false);
    fprintf(out, "%s%s%s %s%-5s%s %s\n", ty_color_on(TY_COLOR_DIM, use_color), time, ty_color_off(TY_COLOR_DIM, use_color),
            ty_color_on(color, use_color), ty_buf_text(&level), ty_color_off(color, use_color), ty_buf_text(&message));
}

static const char *stream_name(const Trainyard__V1__LogRecord *record)
{
    static const char *const names[] = {NULL, "worker", "stdout", "stderr"};
    unsigned stream = record ? (unsigned)record->stream : 0;
    return stream < sizeof names / sizeof *names ? names[stream] : NULL;
}

static void print_json(const Entry *entry, const Trainyard__V1__LogRecord *record, FILE *out)
{
    char time[TY_WHEN_BYTES];
    json_t *object = json_object();
    json_object_set_new(object, "time",
                        entry->time ? json_string(ty_when_rfc3339(ty_when_us(entry->time), time)) : json_null());
    json_object_set_new(object, "level", json_string(entry->level));
    json_object_set_new(object, "message", json_string(entry->message));
    const char *stream = stream_name(record);
    json_object_set_new(object, "stream", stream ? json_string(stream) : json_null());
    json_object_set_new(object, "attempt", record ? json_integer(record->attempt) : json_null());
    json_object_set_new(object, "sequence", record ? json_integer((json_int_t)record->sequence) : json_null());
    json_object_set_new(object, "continued", record ? json_boolean(record->continued) : json_null());
    json_object_set_new(object, "missing", record ? json_integer((json_int_t)record->missing) : json_null());
    json_dumpf(object, out, JSON_COMPACT);
    json_decref(object);
    fputc('\n', out);
}

void ty_follow_print(struct ty_follow_log *log, const Entry *entry, const Trainyard__V1__LogRecord *record)
{
    if (log->json)
        print_json(entry, record, log->out);
    else
        print_text(entry, log->out, log->color);
    log->printed++;
}

int ty_follow_flush(struct ty_follow_log *log, struct ty_err *err)
{
    bool had_error = ferror(log->out) != 0; // errno is another's by now
    if (fflush(log->out) != 0 || had_error)
        return ty_err_errno(err, had_error ? EIO : errno, "the log cannot be written");
    return 0;
}
