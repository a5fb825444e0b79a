// Jobs' logs as their followers in this program read them. Readers of one job that stand at the same place share one read of
// the store, and all of them one word that the log has grown; one that is behind reads at its own pace. Loop thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/loop.h"
#include "core/record.h"
#include "core/state.h"

struct ty_log_feeds;
struct ty_log_feed;
struct ty_log_read;

// What the job's record said just before a page was read; of a read that was not asked for it nothing is known.
struct ty_log_job {
    bool is_known, exists;
    enum ty_job_state state;
    bool is_terminal;
    uint32_t attempt;     // the latest; 0: it never ran
    uint64_t modified_us; // its last change
    const char *organization; // borrowed until the callback is over
    size_t organization_len;
};

struct ty_log_reader;
// The answer to one ty_log_reader_read or _wait, never from inside it. page is from the reader's place on; the reader moves
// itself. err: of the store. May read again, wait or close.
typedef void (*ty_log_reader_fn)(struct ty_log_reader *reader, const struct ty_err *err, const struct ty_log_job *job,
                                 const struct ty_log_page *page);

// Owned by whoever reads, and kept in place from open to close.
struct ty_log_reader {
    uint32_t attempt; // the place to read from
    uint64_t sequence;
    ty_log_reader_fn fn;
    void *context; // for fn
    // The feed's own:
    struct ty_log_feed *feed;
    struct ty_log_read *read;
    unsigned news_seen;
    struct ty_log_reader *next, **at;
};

struct ty_log_feeds *ty_log_feeds_new(struct ty_loop *loop, struct ty_state *state);
// After the last reader was closed.
void ty_log_feeds_free(struct ty_log_feeds *feeds);

int ty_log_reader_open(struct ty_log_feeds *feeds, const struct ty_id *id, struct ty_log_reader *reader,
                       struct ty_err *err) TY_MUST_USE;
// fn does not come any more. One that is not open is fine.
void ty_log_reader_close(struct ty_log_reader *reader);
// Reads a page now; with_job: and the job before it.
void ty_log_reader_read(struct ty_log_reader *reader, bool with_job);
// Reads a page when the log has grown since the page that came last, or in within_ms with the job.
void ty_log_reader_wait(struct ty_log_reader *reader, uint64_t within_ms);
