#include "responder/follow_start.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/log_entry.h"
#include "responder/log_filter.h"

// Attempts that are looked at, the latest first. A job that has had more begins at the earliest of these.
#define ATTEMPTS_MAX 1000
// Entries stand nearly in the order of their times: where the search ends, so many before it are read too.
#define SLACK 256

struct finding {
    struct ty_state *state;
    struct ty_id id;
    struct ty_follow_start how;
    ty_follow_start_fn fn;
    void *context;
    struct ty_log_span *spans;
    size_t count, at;  // the span that is searched
    uint64_t low, high; // all before low are too early; high is not
    bool is_inside;    // its first entry is too early
    uint32_t attempt;  // where the tail begins
    uint64_t sequence;
};

void ty_follow_start_tail(const struct ty_log_span *spans, size_t count, uint64_t tail, uint32_t *ret_attempt,
                          uint64_t *ret_sequence)
{
    *ret_attempt = 0;
    *ret_sequence = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t have = spans[i].next - spans[i].first, take = tail < have ? tail : have;
        *ret_attempt = spans[i].attempt;
        *ret_sequence = spans[i].next - take;
        tail -= take;
        if (!tail)
            return;
    }
}

static void finish(struct finding *finding, const struct ty_err *err, uint32_t attempt, uint64_t sequence)
{
    bool is_later = finding->attempt > attempt || (finding->attempt == attempt && finding->sequence > sequence);
    finding->fn(finding->context, err, is_later ? finding->attempt : attempt, is_later ? finding->sequence : sequence);
    free(finding->spans);
    free(finding);
}

// ---- by time ----

static void probe(struct finding *finding);

// Moves on to the next older attempt that has written something.
static void search_older(struct finding *finding)
{
    while (finding->at < finding->count && finding->spans[finding->at].next == finding->spans[finding->at].first)
        finding->at++;
    if (finding->at == finding->count) {
        finish(finding, NULL, 0, 0);
        return;
    }
    finding->low = finding->spans[finding->at].first;
    finding->high = finding->spans[finding->at].next;
    finding->is_inside = false;
    probe(finding);
}

static bool is_too_early(const struct finding *finding, const struct ty_log_page *page)
{
    struct ty_log_entry entry;
    struct ty_log_facts facts;
    if (!page->count || page->runs[0].attempt != finding->spans[finding->at].attempt)
        return false; // there is nothing from here on
    ty_log_entry_read(page->entries[0].data, page->entries[0].len, &entry);
    return !ty_log_facts_read(entry.message, entry.len, &facts) || facts.time_us < finding->how.since_us;
}

static uint64_t middle(const struct finding *finding)
{
    return finding->is_inside ? finding->low + (finding->high - finding->low) / 2 : finding->low;
}

static void on_probe(void *context, const struct ty_err *err, const struct ty_log_page *page)
{
    struct finding *finding = context;
    const struct ty_log_span *span = &finding->spans[finding->at];
    if (err) {
        finish(finding, err, 0, 0);
        return;
    }
    bool too_early = is_too_early(finding, page);
    if (!finding->is_inside && !too_early) {
        finding->at++;
        search_older(finding);
        return;
    }
    *(too_early ? &finding->low : &finding->high) = middle(finding);
    finding->is_inside = true;
    if (finding->high - finding->low > SLACK)
        probe(finding);
    else
        finish(finding, NULL, span->attempt, finding->low > span->first + SLACK ? finding->low - SLACK : span->first);
}

static void probe(struct finding *finding)
{
    ty_state_log_page(finding->state, &finding->id, finding->spans[finding->at].attempt, middle(finding), 1, 1, on_probe,
                      finding);
}

// ---- the spans ----

static void on_spans(void *context, const struct ty_err *err, const struct ty_log_span *spans, size_t count)
{
    struct finding *finding = context;
    if (err) {
        finish(finding, err, 0, 0);
        return;
    }
    if (finding->how.has_tail)
        ty_follow_start_tail(spans, count, finding->how.tail, &finding->attempt, &finding->sequence);
    if (!finding->how.since_us) {
        finish(finding, NULL, 0, 0);
        return;
    }
    finding->spans = ty_xcalloc(count + 1, sizeof *spans);
    finding->count = count;
    memcpy(finding->spans, spans, count * sizeof *spans);
    search_older(finding);
}

void ty_follow_start_find(struct ty_state *state, const struct ty_id *id, const struct ty_follow_start *how,
                          ty_follow_start_fn fn, void *context)
{
    struct finding *finding = ty_xcalloc(1, sizeof *finding);
    *finding = (struct finding){.state = state, .id = *id, .how = *how, .fn = fn, .context = context};
    ty_state_log_spans(state, id, ATTEMPTS_MAX, on_spans, finding);
}
