#include "core/store_memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/log.h"

#define LOOK_MS 1000
#define MIB (1024.0 * 1024.0)

struct ty_store_memory {
    struct ty_loop *loop;
    struct ty_state *state;
    struct ty_store_memory_options options;
    ty_store_memory_fn fn;
    void *context;
    struct ty_timer timer;
    bool is_up, is_asking, is_freed, told_misfit, told_unbounded;
    enum ty_memory_level level;
    uint64_t used, budget;
};

// ---- INFO ----

// The value behind "name:" at the start of a line; NULL when there is none.
static const char *value_of(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (!strncmp(line, name, len) && line[len] == ':')
            return line + len + 1;
    return NULL;
}

static uint64_t number_of(const char *text, const char *name)
{
    const char *value = value_of(text, name);
    return value ? strtoull(value, NULL, 10) : 0;
}

int ty_memory_info_parse(const char *text, struct ty_memory_info *ret_info, struct ty_err *err)
{
    struct ty_memory_info info = {.used = number_of(text, "used_memory"), .maximum = number_of(text, "maxmemory")};
    uint64_t not_counted = number_of(text, "mem_not_counted_for_evict");
    const char *policy = value_of(text, "maxmemory_policy");
    if (!value_of(text, "used_memory"))
        return ty_err_set(err, TY_EDATALOSS, "Redis' INFO says nothing of used_memory");
    info.used -= not_counted < info.used ? not_counted : info.used;
    if (policy)
        snprintf(info.policy, sizeof info.policy, "%.*s", (int)strcspn(policy, "\r\n"), policy);
    info.evicts = policy && strcmp(info.policy, "noeviction") != 0;
    *ret_info = info;
    return 0;
}

// ---- the level ----

static bool is_above(uint64_t used, uint64_t budget, unsigned percent, bool is_there)
{
    unsigned slack = is_there ? TY_MEMORY_SLACK_PERCENT : 0;
    unsigned from = percent > slack ? percent - slack : 0;
    return (double)used >= (double)budget * from / 100.0;
}

enum ty_memory_level ty_memory_level_of(const struct ty_store_memory_options *options, uint64_t used, uint64_t budget,
                                        enum ty_memory_level now)
{
    if (!budget)
        return TY_MEMORY_ROOM;
    if (is_above(used, budget, options->shed_percent, now >= TY_MEMORY_NO_LOGS))
        return TY_MEMORY_NO_LOGS;
    return is_above(used, budget, options->admit_percent, now >= TY_MEMORY_NO_SUBMITS) ? TY_MEMORY_NO_SUBMITS : TY_MEMORY_ROOM;
}

static void check_policy(struct ty_store_memory *memory, const struct ty_memory_info *info)
{
    struct ty_err misfit;
    if (!info->evicts) {
        memory->told_misfit = false;
        return;
    }
    if (memory->told_misfit)
        return;
    memory->told_misfit = true;
    ty_err_set(&misfit, TY_EPRECONDITION, "Redis has maxmemory-policy %s and would throw jobs away when it is full; it must be noeviction",
               info->policy);
    memory->fn(memory->context, memory->level, &misfit);
}

static void take(struct ty_store_memory *memory, const struct ty_memory_info *info)
{
    memory->used = info->used;
    memory->budget = memory->options.budget_bytes ? memory->options.budget_bytes : info->maximum;
    if (!memory->budget && !memory->told_unbounded)
        ty_log(TY_LOG_WARN, "store.no_budget",
               TY_KV("message", "%s", "Redis has no maxmemory and there is no store-budget-bytes: nothing stops before memory is full"));
    memory->told_unbounded = !memory->budget;
    enum ty_memory_level level = ty_memory_level_of(&memory->options, memory->used, memory->budget, memory->level);
    if (level == memory->level)
        return;
    ty_log(level > memory->level ? TY_LOG_ERROR : TY_LOG_INFO, "store.memory", TY_KV("used_bytes", "%" PRIu64, memory->used),
           TY_KV("budget_bytes", "%" PRIu64, memory->budget),
           TY_KV("submits", "%s", level >= TY_MEMORY_NO_SUBMITS ? "wait" : "go on"),
           TY_KV("logs", "%s", level >= TY_MEMORY_NO_LOGS ? "wait" : "go on"));
    memory->level = level;
    memory->fn(memory->context, level, NULL);
}

// ---- looking ----

static void look(void *context);

static void on_info(void *context, const struct ty_err *err, const char *text)
{
    struct ty_store_memory *memory = context;
    struct ty_memory_info info;
    struct ty_err bad;
    memory->is_asking = false;
    if (memory->is_freed) {
        free(memory);
        return;
    }
    ty_loop_set_timer(memory->loop, &memory->timer, LOOK_MS, look, memory);
    if (err)
        return; // asked again; away is said by others
    if (ty_memory_info_parse(text, &info, &bad) < 0) {
        ty_log(TY_LOG_WARN, "store.memory", TY_KV("error", "%s", bad.message));
        return;
    }
    check_policy(memory, &info);
    take(memory, &info);
}

static void look(void *context)
{
    struct ty_store_memory *memory = context;
    if (!memory->is_up || memory->is_asking)
        return;
    memory->is_asking = true;
    ty_state_info(memory->state, "memory", on_info, memory);
}

struct ty_store_memory *ty_store_memory_new(struct ty_loop *loop, struct ty_state *state,
                                            const struct ty_store_memory_options *options, ty_store_memory_fn fn, void *context)
{
    struct ty_store_memory *memory = ty_xcalloc(1, sizeof *memory);
    *memory = (struct ty_store_memory){.loop = loop, .state = state, .options = *options, .fn = fn, .context = context};
    return memory;
}

void ty_store_memory_free(struct ty_store_memory *memory)
{
    if (!memory)
        return;
    ty_loop_clear_timer(memory->loop, &memory->timer);
    memory->is_freed = true;
    if (!memory->is_asking)
        free(memory);
}

void ty_store_memory_on_store(struct ty_store_memory *memory, bool up)
{
    memory->is_up = up;
    if (up)
        look(memory);
}

enum ty_memory_level ty_store_memory_level(const struct ty_store_memory *memory)
{
    return memory->level;
}

int ty_store_memory_admit(const struct ty_store_memory *memory, struct ty_err *err)
{
    if (memory->level < TY_MEMORY_NO_SUBMITS)
        return 0;
    return ty_err_set(err, TY_EEXHAUSTED,
                      "the job store is nearly full: %.0f of %.0f MiB; jobs are taken again when there is room, try again later",
                      (double)memory->used / MIB, (double)memory->budget / MIB);
}
