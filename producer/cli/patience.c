#include "producer/cli/patience.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 2000

void ty_patience_init(struct ty_patience *patience, int64_t away_limit_ms, int64_t appear_limit_ms)
{
    *patience = (struct ty_patience){.away_limit_ms = away_limit_ms, .appear_limit_ms = appear_limit_ms};
}

void ty_patience_on_answer(struct ty_patience *patience, bool *ret_was_away)
{
    *ret_was_away = patience->is_away;
    patience->seen = true;
    patience->is_away = false;
    patience->since_ms = 0;
}

int ty_patience_on_error(struct ty_patience *patience, uint64_t now_ms, bool *ret_is_new, struct ty_err *err)
{
    bool is_absent = err->code == TY_ENOTFOUND && !patience->seen;
    bool is_away = err->code == TY_EUNAVAILABLE || err->code == TY_EDEADLINE || err->code == TY_EEXHAUSTED;
    *ret_is_new = false;
    if (!is_absent && !is_away)
        return -(int)err->code;
    if (!patience->since_ms || patience->is_away != is_away) {
        *ret_is_new = is_away;
        patience->since_ms = now_ms ? now_ms : 1;
        patience->is_away = is_away;
    }
    int64_t limit_ms = is_away ? patience->away_limit_ms : patience->appear_limit_ms;
    if ((int64_t)(now_ms - patience->since_ms) < limit_ms)
        return 0;
    if (!limit_ms)
        return -(int)err->code;
    return ty_err_prefix(err, "given up after %" PRId64 " s", limit_ms / 1000);
}

int ty_patience_next_pause_ms(struct ty_patience *patience, bool progress)
{
    int pause_ms = progress || !patience->pause_ms ? PAUSE_MIN_MS : patience->pause_ms + patience->pause_ms / 2;
    patience->pause_ms = pause_ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause_ms;
    return patience->pause_ms;
}

void ty_patience_check_reader(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO}; // asks for nothing: errors come unasked
    if (poll(&out, 1, 0) > 0 && out.revents & POLLERR)
        raise(SIGPIPE);
}

void ty_patience_pause(struct ty_patience *patience, bool progress)
{
    int ms = ty_patience_next_pause_ms(patience, progress);
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    struct pollfd out = {.fd = STDOUT_FILENO}; // asks for nothing: errors come unasked
    if (poll(&out, 1, ms) <= 0)
        return;
    if (out.revents & POLLERR)
        raise(SIGPIPE);
    nanosleep(&pause, NULL);
}
