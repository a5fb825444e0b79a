#include "worker/run/ship.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/log.h"
#include "worker/exec/spool.h"
#include "worker/run/batch.h"
#include "worker/run/tell.h"
#include "worker/run/transcript.h"

#define READ_BYTES (256u * 1024)
#define READS_PER_TURN 16u
#define LAST_READS 64u // once, at the end of an attempt whose log the store does not take
#define SHORT_BYTES (UINT64_C(1) << 20) // of a log that is kept short, behind its head
#define SOON_MS 100
#define LATER_MS 1000

_Static_assert(READ_BYTES >= TY_SPOOL_FRAME_MAX, "one read makes progress");

enum link {
    SHUT,    // the log is to be opened
    OPENING, // a call is on its way
    OPEN,
    SENDING, // a call is on its way
    SEALED,
    LOST,
};

enum reading {
    RUNNING, // the spool may grow
    ENDING,  // it will not
    READ,    // its end was reached, the closing words are awaited
    CLOSED,  // everything is in the batch or behind it
};

struct ty_ship {
    struct ty_ship_options options;
    ty_ship_fn fn;
    void *context;
    char *dir, *worker, *after;
    bool up, freed;
    enum link link;
    enum reading reading;
    bool is_given_up; // while the rest is read for its tail: the batch is no limit
    bool is_guess;    // the transcript was begun without a word from the store
    struct ty_timer timer; // opens again, or goes on reading

    int spool_fd, flushes_fd;
    struct ty_transcript *transcript; // NULL before the log was opened
    uint64_t spool_at, flushes_at;    // how far they were read
    uint64_t spool_seen;              // the furthest ever
    bool has_flush;                   // `flush` is the recorded one at flushes_at
    bool flushes_read;                // there is none: only this process adds some
    struct ty_transcript_flush flush;
    struct {
        uint64_t time_us;
        char *level, *message; // NULL before ty_ship_close
    } closing;

    struct ty_tell *tell; // the progress
    struct ty_batch batch;
    bool is_last;  // what is on its way has the end marker
    bool is_taken; // the store has said that the attempt is another's, or its lease was taken
    uint64_t progress;
    uint64_t shed; // entries that were left out; those behind them move up
};

static void pump(struct ty_ship *ship);
static void try_open(struct ty_ship *ship);

// ---- the batch ----

static bool has_room(const struct ty_ship *ship)
{
    return ship->is_given_up || !ty_batch_is_full(&ship->batch);
}

static void on_entry(void *context, uint64_t sequence, const void *entry, size_t len)
{
    struct ty_ship *ship = context;
    if (sequence - ship->shed < ty_batch_end(&ship->batch))
        return;
    bool is_left_out = ship->shed || *ship->options.is_shedding || (ship->is_given_up && ty_batch_is_full(&ship->batch));
    if (ship->reading == ENDING && is_left_out) // to the end, so that numbers go on
        ship->shed++;
    else
        ty_batch_add(&ship->batch, entry, len);
}

// ---- reading the spool ----

static void rewind_spool(struct ty_ship *ship, const struct ty_log_place *place)
{
    ty_transcript_free(ship->transcript);
    ty_batch_begin(&ship->batch, place);
    ship->transcript = ty_transcript_new(ship->options.steps, ship->options.step_count,
                                          ship->options.stderr_level, on_entry, ship);
    ty_transcript_set_progress(ship->transcript, ty_tell_begin(ship->tell));
    ship->spool_at = ship->flushes_at = 0;
    ship->shed = 0;
    ship->is_guess = false;
    ship->has_flush = ship->flushes_read = false;
    if (ship->reading == CLOSED || ship->reading == READ)
        ship->reading = ENDING;
    char *text TY_FREE = ty_xasprintf("attempt %u claimed by %s%s%s", ship->options.attempt, ship->worker,
                                      ship->after ? ", after the one before it: " : "", ship->after ? ship->after : "");
    ty_transcript_say(ship->transcript, ship->options.started_us, "info", text);
}

static void open_file(struct ty_ship *ship, int *fd, const char *name, int flags)
{
    if (*fd >= 0)
        return;
    char *path TY_FREE = ty_xasprintf("%s/%s", ship->dir, name);
    *fd = open(path, flags | O_CLOEXEC, 0600);
}

static bool next_flush(struct ty_ship *ship)
{
    struct ty_transcript_flush *flush = &ship->flush;
    if (ship->has_flush || ship->flushes_read)
        return ship->has_flush;
    open_file(ship, &ship->flushes_fd, "flushes", O_RDWR | O_CREAT);
    ssize_t got = ship->flushes_fd < 0 ? -1 : pread(ship->flushes_fd, flush, sizeof *flush, (off_t)ship->flushes_at);
    ship->has_flush = got == (ssize_t)sizeof *flush && flush->check == TY_TRANSCRIPT_CHECK;
    ship->flushes_read = !ship->has_flush;
    return ship->has_flush;
}

static void replay_flushes(struct ty_ship *ship)
{
    while (next_flush(ship) && ship->flush.spool_offset <= ship->spool_at) {
        ty_transcript_replay(ship->transcript, &ship->flush);
        ship->flushes_at += sizeof ship->flush;
        ship->has_flush = false;
    }
}

// All that there is was read: what has waited long enough by the clock is emitted, after that was written down. Where it
// cannot be, on a full disk, the partial line waits for what follows it.
static void flush_by_clock(struct ty_ship *ship)
{
    struct ty_transcript_flush due;
    replay_flushes(ship);
    while (!ty_batch_is_full(&ship->batch) && ty_transcript_find_due(ship->transcript, ty_clock_wall_us(), &due)) {
        due.spool_offset = ship->spool_at;
        if (next_flush(ship) || ship->flushes_fd < 0 ||
            pwrite(ship->flushes_fd, &due, sizeof due, (off_t)ship->flushes_at) != (ssize_t)sizeof due)
            return;
        ship->flushes_at += sizeof due;
        ty_transcript_replay(ship->transcript, &due);
    }
}

static void reach_end(struct ty_ship *ship)
{
    replay_flushes(ship);
    ty_transcript_end(ship->transcript);
    ship->reading = READ;
}

// Returns false when there is nothing more to read now.
static bool read_some(struct ty_ship *ship)
{
    static uint8_t window[READ_BYTES];
    uint64_t written = atomic_load_explicit(&ship->options.control->spool_bytes, memory_order_acquire);
    if (ship->reading == RUNNING && ship->spool_at >= written)
        return false;
    open_file(ship, &ship->spool_fd, "spool", O_RDONLY);
    ssize_t got = ship->spool_fd < 0 ? -1 : pread(ship->spool_fd, window, sizeof window, (off_t)ship->spool_at);
    size_t len = got > 0 ? (size_t)got : 0, used = 0, at = 0;
    // Behind the counted bytes a frame may be half written.
    if (ship->reading == RUNNING && len > written - ship->spool_at)
        len = (size_t)(written - ship->spool_at);
    struct ty_spool_frame frame;
    bool ended = false;
    while (has_room(ship) && !ended && ty_spool_next(window + at, len - at, &frame, &used) == TY_SPOOL_FRAME) {
        replay_flushes(ship);
        ended = frame.stream == TY_EXEC_STREAM_END;
        ty_transcript_frame(ship->transcript, &frame);
        at += used;
        ship->spool_at += used;
    }
    // A long spool of which the store has much already is no store that takes nothing.
    if (ship->spool_at > ship->spool_seen) {
        ship->spool_seen = ship->spool_at;
        ship->progress++;
    }
    // Without an end frame the supervisor was killed: what is torn or cut off counts as not written.
    if (ship->reading == ENDING && has_room(ship) && (ended || at == 0)) {
        reach_end(ship);
        return false;
    }
    return at > 0 && !ended;
}

// ---- the store ----

static void set_timer(struct ty_ship *ship, uint64_t delay_ms);

static void release(struct ty_ship *ship)
{
    ty_loop_clear_timer(ship->options.loop, &ship->timer);
    ty_transcript_free(ship->transcript);
    ty_tell_free(ship->tell);
    if (ship->spool_fd >= 0)
        close(ship->spool_fd);
    if (ship->flushes_fd >= 0)
        close(ship->flushes_fd);
    ty_batch_done(&ship->batch);
    free(ship->closing.level);
    free(ship->closing.message);
    free(ship->dir);
    free(ship->worker);
    free(ship->after);
    free(ship);
}

static void lose(struct ty_ship *ship)
{
    ship->link = LOST;
    ship->fn(ship->context, TY_SHIP_LOST);
}

static void on_error(struct ty_ship *ship, const struct ty_err *err)
{
    bool is_away = err->code == TY_EUNAVAILABLE || err->code == TY_EDEADLINE;
    bool mends = err->code == TY_EABORTED || err->code == TY_ENOTFOUND || err->code == TY_EPRECONDITION;
    char id[TY_ID_TEXT_BYTES];
    if (!is_away && !mends)
        ty_log(TY_LOG_WARN, "log.refused", TY_KV("job", "%s", ty_id_format(&ship->options.id, id)),
               TY_KV("attempt", "%u", ship->options.attempt), TY_KV("error", "%s", err->message));
    ship->link = SHUT;
    set_timer(ship, mends ? SOON_MS : LATER_MS);
}

// False: the store is not where the batch goes on from.
static bool settle(struct ty_ship *ship, const struct ty_log_place *place)
{
    uint64_t before = ship->batch.next;
    if (!ty_batch_settle(&ship->batch, place))
        return false;
    uint64_t taken = place->next > before ? place->next - before : 0;
    ship->progress += taken;
    *ship->options.entries += taken;
    *ship->options.stored_bytes = place->bytes;
    return true;
}

static void on_appended(void *context, const struct ty_err *err, const struct ty_log_place *place)
{
    struct ty_ship *ship = context;
    if (ship->freed) {
        release(ship);
        return;
    }
    if (err) {
        ship->is_taken = err->code == TY_EABORTED;
        on_error(ship, err);
        return;
    }
    if (!settle(ship, place)) { // it is asked what it has
        ship->link = SHUT;
        set_timer(ship, SOON_MS);
        return;
    }
    ship->link = OPEN;
    if (!ship->is_last) {
        pump(ship);
        return;
    }
    ship->link = SEALED;
    ship->progress++;
    ship->fn(ship->context, TY_SHIP_SEALED);
}

static void send(struct ty_ship *ship)
{
    const struct ty_ship_options *options = &ship->options;
    struct ty_log_append append = {.id = options->id, .token = options->token, .attempt = options->attempt,
                                   .short_bytes = *options->is_short ? SHORT_BYTES : 0};
    if (ship->reading == CLOSED)
        ty_batch_close(&ship->batch);
    ty_batch_fill(&ship->batch, &append);
    append.end = ship->is_last = ship->reading == CLOSED;
    ty_tell_now(ship->tell, ship->is_last);
    ship->link = SENDING;
    ty_state_log_append(options->state, &append, on_appended, ship);
}

static void on_opened(void *context, const struct ty_err *err, const struct ty_log_place *place)
{
    struct ty_ship *ship = context;
    if (ship->freed) {
        release(ship);
        return;
    }
    if (err && err->code == TY_EABORTED) {
        lose(ship);
        return;
    }
    if (err) {
        on_error(ship, err);
        return;
    }
    ship->link = OPEN;
    ship->is_taken = false;
    if (!ship->transcript || ship->is_guess || !settle(ship, place))
        rewind_spool(ship, place);
    pump(ship);
}

// The lease is held, as far as this worker knows.
static bool holds_lease(const struct ty_ship *ship)
{
    return atomic_load(&ship->options.control->deadline_ns) > ty_clock_boot_ns();
}

static void try_open(struct ty_ship *ship)
{
    const struct ty_ship_options *options = &ship->options;
    if (ship->link != SHUT || !ship->up)
        return;
    // The store seals the log of an attempt whose lease has passed. Only who has it again may go on.
    if (ship->is_taken && !holds_lease(ship)) {
        set_timer(ship, LATER_MS);
        return;
    }
    ty_loop_clear_timer(options->loop, &ship->timer);
    ship->link = OPENING;
    ty_state_log_open(options->state, &options->id, options->attempt, options->fence, &options->token, 0, on_opened, ship);
}

// ---- going on ----

static void say_closing(struct ty_ship *ship)
{
    if (ship->shed) {
        char *text TY_FREE = ty_xasprintf("%" PRIu64 " lines are left out here: the job store was nearly full", ship->shed);
        ty_transcript_say(ship->transcript, ship->closing.time_us, "error", text);
    }
    ty_transcript_say(ship->transcript, ship->closing.time_us, ship->closing.level, ship->closing.message);
    ship->reading = CLOSED;
}

static void on_timer(void *context)
{
    struct ty_ship *ship = context;
    if (ship->link == SHUT)
        try_open(ship);
    else if (ship->link == OPEN)
        pump(ship);
}

static void set_timer(struct ty_ship *ship, uint64_t delay_ms)
{
    ty_loop_set_timer(ship->options.loop, &ship->timer, delay_ms, on_timer, ship);
}

// Returns whether there may be more.
static bool read_batch(struct ty_ship *ship)
{
    bool more = true;
    for (unsigned i = 0; i < READS_PER_TURN && more && !ty_batch_is_full(&ship->batch) && ship->reading <= ENDING; i++)
        more = read_some(ship);
    if (!more && ship->reading == RUNNING)
        flush_by_clock(ship);
    return more;
}

static void pump(struct ty_ship *ship)
{
    if (ship->link != OPEN || (*ship->options.is_shedding && ship->reading == RUNNING))
        return;
    bool more = read_batch(ship);
    if (ship->reading == READ && ship->closing.message)
        say_closing(ship);
    bool ask = ship->reading == READ;
    if (!ty_batch_is_empty(&ship->batch) || ship->reading == CLOSED) {
        send(ship);
        if (more && ship->reading <= ENDING)
            read_batch(ship); // what is sent next, while this is on its way
    } else if (more && ship->reading <= ENDING) {
        set_timer(ship, 0); // a long spool whose entries the store has already
    }
    if (ask)
        ship->fn(ship->context, TY_SHIP_READ);
}

struct ty_ship *ty_ship_new(const struct ty_ship_options *options, ty_ship_fn fn, void *context)
{
    struct ty_ship *ship = ty_xcalloc(1, sizeof *ship);
    ship->options = *options;
    ship->options.dir = ship->options.worker = ship->options.after = NULL;
    ship->after = options->after ? ty_xstrdup(options->after) : NULL;
    ship->dir = ty_xstrdup(options->dir);
    ship->worker = ty_xstrdup(options->worker);
    ship->fn = fn;
    ship->context = context;
    struct ty_tell_options telling = {.state = options->state, .id = options->id, .token = options->token,
                                      .attempt = options->attempt, .rules = options->progress_rules,
                                      .is_shedding = options->is_shedding};
    ship->tell = ty_tell_new(&telling);
    ship->spool_fd = ship->flushes_fd = -1;
    ship->up = ty_state_is_up(options->state);
    try_open(ship);
    return ship;
}

void ty_ship_free(struct ty_ship *ship)
{
    if (!ship)
        return;
    ty_loop_clear_timer(ship->options.loop, &ship->timer);
    ship->freed = true;
    if (ship->link != OPENING && ship->link != SENDING)
        release(ship);
}

void ty_ship_on_store(struct ty_ship *ship, bool up)
{
    ship->up = up;
    try_open(ship);
}

void ty_ship_tick(struct ty_ship *ship)
{
    uint64_t written = atomic_load_explicit(&ship->options.control->spool_bytes, memory_order_acquire);
    if (ship->link != OPEN || ship->reading != RUNNING)
        return;
    ty_tell_now(ship->tell, false);
    if (written > ship->spool_at || ty_transcript_next_due(ship->transcript) <= ty_clock_wall_us())
        pump(ship);
}

void ty_ship_end(struct ty_ship *ship)
{
    if (ship->reading != RUNNING)
        return;
    ship->reading = ENDING;
    if (ship->link == OPEN)
        set_timer(ship, 0);
}

void ty_ship_close(struct ty_ship *ship, uint64_t time_us, const char *level, const char *message)
{
    if (ship->closing.message)
        return;
    ship->closing.time_us = time_us;
    ship->closing.level = ty_xstrdup(level);
    ship->closing.message = ty_xstrdup(message);
    if (ship->link == OPEN && ship->reading == READ)
        set_timer(ship, 0);
}

void ty_ship_give_up(struct ty_ship *ship)
{
    if (ship->reading != ENDING)
        return;
    if (!ship->transcript) {
        rewind_spool(ship, &(struct ty_log_place){0});
        ship->is_guess = true;
    }
    ship->is_given_up = true;
    for (unsigned i = 0; i < LAST_READS && read_some(ship); i++)
        continue;
    ship->is_given_up = false;
}

uint64_t ty_ship_progress(const struct ty_ship *ship)
{
    return ship->progress;
}

bool ty_ship_is_sealed(const struct ty_ship *ship)
{
    return ship->link == SEALED;
}

uint64_t ty_ship_next(const struct ty_ship *ship)
{
    return ship->batch.next;
}

void ty_ship_missing(const struct ty_ship *ship, uint64_t *ret_lines, uint64_t *ret_bytes)
{
    uint64_t written = atomic_load_explicit(&ship->options.control->spool_bytes, memory_order_acquire);
    uint64_t end = ship->transcript ? ty_batch_end(&ship->batch) : 0;
    *ret_lines = (end > ship->batch.next ? end - ship->batch.next : 0) + ship->shed;
    *ret_bytes = ship->reading <= ENDING && written > ship->spool_at ? written - ship->spool_at : 0;
}

void ty_ship_tail(const struct ty_ship *ship, size_t max_bytes, struct ty_buf *out)
{
    if (ship->transcript)
        ty_transcript_tail(ship->transcript, max_bytes, out);
}
