#include "worker/run/tell.h"

#include <stdlib.h>

#include "core/clock.h"

#define PAUSE_MS 2000
#define BYTES_A_S 4096

struct ty_tell {
    struct ty_tell_options options;
    struct ty_progress *progress; // NULL before the first line
    unsigned calls;               // on their way
    bool is_untold, is_freed;     // is_untold: one has failed
    uint64_t next_ms;             // not before
};

struct ty_tell *ty_tell_new(const struct ty_tell_options *options)
{
    struct ty_tell *tell = ty_xcalloc(1, sizeof *tell);
    tell->options = *options;
    return tell;
}

struct ty_progress *ty_tell_begin(struct ty_tell *tell)
{
    ty_progress_free(tell->progress);
    tell->progress = ty_progress_new(tell->options.attempt, tell->options.rules);
    return tell->progress;
}

static void on_told(void *context, const struct ty_err *err)
{
    struct ty_tell *tell = context;
    tell->calls--;
    if (err && err->code != TY_EABORTED) // who owns the attempt no more has nothing to tell
        tell->is_untold = true;
    if (tell->is_freed && !tell->calls)
        free(tell);
}

void ty_tell_now(struct ty_tell *tell, bool is_last)
{
    const struct ty_tell_options *options = &tell->options;
    if (!tell->progress || *options->is_shedding || (!ty_progress_is_new(tell->progress) && !tell->is_untold))
        return;
    uint64_t now_ms = ty_clock_mono_ms();
    if (!is_last && (tell->calls || now_ms < tell->next_ms))
        return;
    TY_BUF(bytes);
    ty_progress_encode(tell->progress, &bytes);
    uint64_t pause_ms = bytes.len * 1000 / BYTES_A_S;
    tell->next_ms = now_ms + (pause_ms > PAUSE_MS ? pause_ms : PAUSE_MS);
    tell->is_untold = false;
    tell->calls++;
    ty_state_progress_put(options->state, &options->id, &options->token, bytes.data, bytes.len, on_told, tell);
}

void ty_tell_free(struct ty_tell *tell)
{
    if (!tell)
        return;
    ty_progress_free(tell->progress);
    tell->progress = NULL;
    tell->is_freed = true;
    if (!tell->calls)
        free(tell);
}
