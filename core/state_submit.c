// The arguments of submit.lua. A million submits must not cost the store more than it takes to write them, so what a
// batch adds to each index is gathered here and not in Lua.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/state_internal.h"

// Lua's unpack() has a limit, and a part that cannot be written at once is written one by one.
#define PART_JOBS 500
#define PART_INDEXES 64
#define SEEN_SLOTS 1024 // a power of two, about twice PART_JOBS
#define INDEXES_OF_A_JOB 5

struct index {
    const char *key;
    size_t key_len;
    struct ty_args members; // score, id, score, id, ...
};

struct part {
    const struct ty_state *state;
    unsigned shard;
    struct ty_args *args; // of the whole call
    struct ty_args jobs;  // key, record, key, record, ...
    size_t job_count, index_count;
    uint64_t oldest_us; // when the first of the jobs was created
    struct index indexes[PART_INDEXES];
    const struct ty_id *seen[SEEN_SLOTS];
};

// Writes the part into the call's arguments and empties it.
static void flush(struct part *part)
{
    if (!part->job_count)
        return;
    ty_args_add_u64(part->args, part->job_count);
    ty_args_add_u64(part->args, part->oldest_us);
    ty_args_add_all(part->args, &part->jobs);
    ty_args_add_u64(part->args, part->index_count);
    for (size_t i = 0; i < part->index_count; i++) {
        struct index *index = &part->indexes[i];
        ty_args_add(part->args, index->key, index->key_len);
        ty_args_add_u64(part->args, index->members.count);
        ty_args_add_all(part->args, &index->members);
        index->members.count = 0;
    }
    part->jobs.count = part->job_count = part->index_count = 0;
    memset(part->seen, 0, sizeof part->seen);
}

// False when the part has this id already.
static bool see(struct part *part, const struct ty_id *id)
{
    uint32_t hash;
    memcpy(&hash, id->bytes + sizeof id->bytes - sizeof hash, sizeof hash);
    for (size_t at = hash % SEEN_SLOTS;; at = (at + 1) % SEEN_SLOTS) {
        if (!part->seen[at]) {
            part->seen[at] = id;
            return true;
        }
        if (ty_id_equal(part->seen[at], id))
            return false;
    }
}

static struct index *find_index(struct part *part, const char *kind, const char *name, size_t name_len)
{
    const char *prefix = part->state->prefix[part->shard];
    size_t prefix_len = strlen(prefix), kind_len = strlen(kind), len = prefix_len + kind_len + name_len;
    for (size_t i = 0; i < part->index_count; i++) {
        struct index *index = &part->indexes[i];
        if (index->key_len == len && !memcmp(index->key + prefix_len, kind, kind_len) &&
            !memcmp(index->key + prefix_len + kind_len, name, name_len))
            return index;
    }
    struct index *index = &part->indexes[part->index_count++];
    char *key = ty_args_keep(part->args, len);
    memcpy(key, prefix, prefix_len);
    memcpy(key + prefix_len, kind, kind_len);
    memcpy(key + prefix_len + kind_len, name, name_len);
    index->key = key;
    index->key_len = len;
    return index;
}

static void enter(struct part *part, const char *kind, const char *name, size_t name_len, const char *score,
                  size_t score_len, const struct ty_id *id)
{
    struct index *index = find_index(part, kind, name, name_len);
    ty_args_add(&index->members, score, score_len);
    ty_args_add(&index->members, id->bytes, sizeof id->bytes);
}

static void add_indexes(struct part *part, const struct ty_apply *command, const struct ty_record *record)
{
    const char *organization = command->organization_id ? command->organization_id : "";
    const struct ty_id *id = &command->job_id;
    size_t len = strlen(organization), score_len;
    const char *score = ty_args_number(part->args, record->created_us, &score_len);
    enter(part, "o", "", 0, score, score_len, id);
    if (len) {
        char kind[] = "s:0:";
        kind[2] = (char)('0' + record->state);
        enter(part, kind, organization, len, score, score_len, id);
    }
    uint64_t wait_end_us = ty_record_wait_end_us(record);
    if (wait_end_us) {
        score = ty_args_number(part->args, wait_end_us, &score_len);
        enter(part, "i", "", 0, score, score_len, id);
    }
    // A record that was made from an event may be in back-off: the tick finds out whether that is over.
    uint64_t due_us = ty_record_due_us(record);
    if (due_us) {
        score = ty_args_number(part->args, due_us, &score_len);
        enter(part, "d", "", 0, score, score_len, id);
    } else if (record->state == TY_JOB_PENDING) {
        // The organization's queue in its pool; a container's key has no bar.
        size_t queue_len = record->pool_len + 1 + len;
        char *queue = ty_args_keep(part->args, queue_len);
        memcpy(queue, record->pool, record->pool_len);
        queue[record->pool_len] = '|';
        memcpy(queue + record->pool_len + 1, organization, len);
        score = ty_args_number(part->args, record->ready, &score_len);
        enter(part, "f:", queue, queue_len, score, score_len, id);
    } else if (ty_record_is_terminal(record)) {
        score = ty_args_number(part->args, record->ended_us, &score_len);
        enter(part, "e", "", 0, score, score_len, id);
        if (len)
            enter(part, "t:", organization, len, score, score_len, id);
    }
}

static int add_job(struct part *part, const struct ty_apply *command, struct ty_err *err)
{
    struct ty_record record;
    if (ty_record_decode(command->record, command->record_len, &record, err) < 0)
        return -(int)err->code;
    if (part->job_count == PART_JOBS || part->index_count > PART_INDEXES - INDEXES_OF_A_JOB || !see(part, &command->job_id)) {
        flush(part);
        see(part, &command->job_id);
    }
    const char *prefix = part->state->prefix[part->shard];
    size_t prefix_len = strlen(prefix), len = prefix_len + 2 + sizeof command->job_id.bytes;
    char *key = ty_args_keep(part->args, len);
    memcpy(key, prefix, prefix_len);
    memcpy(key + prefix_len, "j:", 2);
    memcpy(key + prefix_len + 2, command->job_id.bytes, sizeof command->job_id.bytes);
    ty_args_add(&part->jobs, key, len);
    ty_args_add(&part->jobs, command->record, command->record_len);
    if (!part->job_count++ || record.created_us < part->oldest_us)
        part->oldest_us = record.created_us;
    add_indexes(part, command, &record);
    return 0;
}

int ty_state_add_submits(const struct ty_state *state, unsigned shard, const struct ty_apply *commands,
                         const size_t *places, size_t count, struct ty_args *args, struct ty_err *err)
{
    struct part *part = ty_xcalloc(1, sizeof *part);
    part->state = state;
    part->shard = shard;
    part->args = args;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = add_job(part, &commands[places[i]], err);
    if (rc == 0)
        flush(part);
    for (size_t i = 0; i < PART_INDEXES; i++)
        ty_args_done(&part->indexes[i].members);
    ty_args_done(&part->jobs);
    free(part);
    return rc;
}
