// Time is simulated: each splitter has the moment at which what it holds will have waited long enough, and those that lie
// before the next frame happen before it, earliest first, exactly as the clock would have made them happen.
#include "worker/run/transcript.h"

#include <stdlib.h>
#include <string.h>

#include "core/log_entry.h"
#include "core/logsplit.h"
#include "core/progress.h"

#define QUIET_US 1000000u
#define SAME_TIME_US (2 * QUIET_US)
#define TAIL_LINE_BYTES 2048u
#define NEVER UINT64_MAX

enum { OUT, ERR, SUPERVISOR, SPLITTERS };

static const enum ty_log_stream streams[SPLITTERS] = {TY_LOG_STREAM_STDOUT, TY_LOG_STREAM_STDERR, TY_LOG_STREAM_WORKER};

struct splitter {
    struct ty_transcript *transcript;
    struct ty_logsplit *split;
    uint64_t due_us; // NEVER when nothing came since the last flush
    enum ty_log_stream stream;
    bool keeps_tail, tells_progress;
};

struct ty_transcript {
    ty_transcript_fn fn;
    void *context;
    const char *const *steps;
    size_t step_count;
    const char *stderr_level;
    struct splitter splitters[SPLITTERS];
    int step; // the one that has been announced last; -1 before the first
    struct ty_progress *progress; // NULL: nobody asks
    uint64_t sequence, last_us; // last_us: the time of the entry before
    struct ty_buf entry;        // scratch
    struct {
        char *text;
        size_t len, cap;
    } tail[TY_TRANSCRIPT_TAIL];
    size_t tail_count; // of the step, ever
    size_t tail_next;  // the ring's place of the next one: tail_count % TY_TRANSCRIPT_TAIL
};

// ---- entries ----

// The times of a log do not go back by what lies between two programs that say when something was (worker, supervisor, a line
// that was held). A clock that was set is another thing, and is left as it is.
static uint64_t in_order(struct ty_transcript *transcript, uint64_t time_us)
{
    uint64_t last_us = transcript->last_us;
    if (time_us < last_us && last_us - time_us < SAME_TIME_US)
        return last_us;
    transcript->last_us = time_us;
    return time_us;
}

static void emit(struct ty_transcript *transcript, enum ty_log_stream stream, const struct ty_logsplit_line *line)
{
    struct ty_buf *entry = &transcript->entry;
    ty_buf_clear(entry);
    ty_log_entry_add(entry, stream, line->continued, in_order(transcript, line->time_us), line->level, line->message, line->len);
    transcript->fn(transcript->context, transcript->sequence++, entry->data, entry->len);
}

static void keep_tail(struct ty_transcript *transcript, const char *message, size_t len)
{
    size_t place = transcript->tail_next;
    transcript->tail_count++;
    transcript->tail_next = place + 1 == TY_TRANSCRIPT_TAIL ? 0 : place + 1;
    if (len > TAIL_LINE_BYTES) {
        len = TAIL_LINE_BYTES;
        while (len && ((unsigned char)message[len] & 0xc0) == 0x80)
            len--;
    }
    if (transcript->tail[place].cap < len) {
        transcript->tail[place].cap = len < 256 ? 256 : TAIL_LINE_BYTES;
        transcript->tail[place].text = ty_xrealloc(transcript->tail[place].text, transcript->tail[place].cap);
    }
    if (len)
        memcpy(transcript->tail[place].text, message, len);
    transcript->tail[place].len = len;
}

static void on_line(void *context, const struct ty_logsplit_line *line)
{
    struct splitter *splitter = context;
    emit(splitter->transcript, splitter->stream, line);
    if (splitter->keeps_tail)
        keep_tail(splitter->transcript, line->message, line->len);
    if (splitter->tells_progress && !line->continued && splitter->transcript->progress)
        ty_progress_line(splitter->transcript->progress, line->time_us, line->message, line->len);
}

void ty_transcript_say(struct ty_transcript *transcript, uint64_t time_us, const char *level, const char *message)
{
    emit(transcript, TY_LOG_STREAM_WORKER,
         &(struct ty_logsplit_line){.time_us = time_us, .level = level, .message = message, .len = strlen(message)});
}

// ---- life ----

static bool is_step(const struct ty_transcript *transcript, int step, const char *name)
{
    return step >= 0 && (size_t)step < transcript->step_count && !strcmp(transcript->steps[step], name);
}

// Those in which a program of the worker's runs, not one of the job's.
static bool is_own_step(const struct ty_transcript *transcript, int step)
{
    return is_step(transcript, step, "prepare") || is_step(transcript, step, "collect");
}

static void open_splitters(struct ty_transcript *transcript, int step)
{
    bool is_own = is_own_step(transcript, step), is_train = is_step(transcript, step, "train");
    for (size_t i = 0; i < SPLITTERS; i++) {
        struct splitter *splitter = &transcript->splitters[i];
        ty_logsplit_free(splitter->split);
        *splitter = (struct splitter){.transcript = transcript, .due_us = NEVER, .keeps_tail = i != SUPERVISOR,
                                      .tells_progress = i != SUPERVISOR && is_train};
        splitter->stream = is_own ? TY_LOG_STREAM_WORKER : streams[i];
        splitter->split = ty_logsplit_new(i == ERR ? transcript->stderr_level : "info", on_line, splitter);
    }
}

struct ty_transcript *ty_transcript_new(const char *const *steps, size_t step_count, const char *stderr_level,
                                        ty_transcript_fn fn, void *context)
{
    struct ty_transcript *transcript = ty_xcalloc(1, sizeof *transcript);
    transcript->fn = fn;
    transcript->context = context;
    transcript->steps = steps;
    transcript->step_count = step_count;
    transcript->stderr_level = stderr_level;
    transcript->step = -1;
    open_splitters(transcript, -1);
    return transcript;
}

void ty_transcript_set_progress(struct ty_transcript *transcript, struct ty_progress *progress)
{
    transcript->progress = progress;
}

void ty_transcript_free(struct ty_transcript *transcript)
{
    if (!transcript)
        return;
    for (size_t i = 0; i < SPLITTERS; i++)
        ty_logsplit_free(transcript->splitters[i].split);
    for (size_t i = 0; i < TY_TRANSCRIPT_TAIL; i++)
        free(transcript->tail[i].text);
    ty_buf_done(&transcript->entry);
    free(transcript);
}

// ---- time ----

static size_t earliest(const struct ty_transcript *transcript)
{
    size_t best = 0;
    for (size_t i = 1; i < SPLITTERS; i++)
        if (transcript->splitters[i].due_us < transcript->splitters[best].due_us)
            best = i;
    return best;
}

static void flush(struct splitter *splitter, uint64_t due_us)
{
    splitter->due_us = NEVER;
    ty_logsplit_flush(splitter->split, due_us);
}

uint64_t ty_transcript_next_due(const struct ty_transcript *transcript)
{
    return transcript->splitters[earliest(transcript)].due_us;
}

bool ty_transcript_find_due(const struct ty_transcript *transcript, uint64_t now_us, struct ty_transcript_flush *ret_flush)
{
    size_t i = earliest(transcript);
    uint64_t due_us = transcript->splitters[i].due_us;
    if (due_us == NEVER || due_us > now_us)
        return false;
    *ret_flush = (struct ty_transcript_flush){.due_us = due_us, .splitter = (uint32_t)i, .check = TY_TRANSCRIPT_CHECK};
    return true;
}

void ty_transcript_replay(struct ty_transcript *transcript, const struct ty_transcript_flush *what)
{
    if (what->splitter < SPLITTERS)
        flush(&transcript->splitters[what->splitter], what->due_us);
}

static void pass_time(struct ty_transcript *transcript, uint64_t now_us)
{
    struct ty_transcript_flush due;
    while (ty_transcript_find_due(transcript, now_us, &due))
        ty_transcript_replay(transcript, &due);
}

// ---- frames ----

static void end_step(struct ty_transcript *transcript)
{
    for (size_t i = 0; i < SPLITTERS; i++)
        flush(&transcript->splitters[i], NEVER); // to the logsplit, NEVER is the end
}

static void begin_step(struct ty_transcript *transcript, uint64_t time_us, uint8_t step)
{
    end_step(transcript);
    open_splitters(transcript, step);
    transcript->tail_count = transcript->tail_next = 0;
    while (transcript->step < step) {
        size_t at = (size_t)++transcript->step;
        char *text TY_FREE = ty_xasprintf("step %s", at < transcript->step_count ? transcript->steps[at] : "unknown");
        ty_transcript_say(transcript, time_us, "info", text);
    }
}

void ty_transcript_frame(struct ty_transcript *transcript, const struct ty_spool_frame *frame)
{
    pass_time(transcript, frame->time_us);
    if (frame->step > transcript->step)
        begin_step(transcript, frame->time_us, frame->step);
    size_t i = frame->stream == TY_EXEC_STREAM_STDOUT ? OUT : frame->stream == TY_EXEC_STREAM_STDERR ? ERR : SUPERVISOR;
    if (!frame->len)
        return;
    struct splitter *splitter = &transcript->splitters[i];
    ty_logsplit_feed(splitter->split, frame->time_us, frame->bytes, frame->len);
    splitter->due_us = frame->time_us + QUIET_US;
}

void ty_transcript_end(struct ty_transcript *transcript)
{
    end_step(transcript);
}

// ---- questions ----

uint64_t ty_transcript_count(const struct ty_transcript *transcript)
{
    return transcript->sequence;
}

void ty_transcript_tail(const struct ty_transcript *transcript, size_t max_bytes, struct ty_buf *out)
{
    size_t have = transcript->tail_count < TY_TRANSCRIPT_TAIL ? transcript->tail_count : TY_TRANSCRIPT_TAIL, take = 0;
    for (size_t bytes = 0; take < have; take++) {
        bytes += transcript->tail[(transcript->tail_count - 1 - take) % TY_TRANSCRIPT_TAIL].len + 1;
        if (bytes > max_bytes)
            break;
    }
    for (; take > 0; take--) {
        size_t place = (transcript->tail_count - take) % TY_TRANSCRIPT_TAIL;
        ty_buf_add(out, transcript->tail[place].text, transcript->tail[place].len);
        ty_buf_add_byte(out, '\n');
    }
}
