// The plan is checked whole before anything runs: what is not understood is an error, unknown keys
// excepted, since a newer worker may add some.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/exec/exec.h"

static char *read_all(size_t *ret_len, char message[TY_EXEC_MESSAGE_BYTES])
{
    struct stat st;
    char *bytes = NULL;
    int fd = open("plan", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        snprintf(message, TY_EXEC_MESSAGE_BYTES, "plan: %s", strerror(errno));
        goto fail;
    }
    if (st.st_size <= 0 || st.st_size > (off_t)TY_EXEC_PLAN_BYTES) {
        snprintf(message, TY_EXEC_MESSAGE_BYTES, "plan: has %lld bytes; 1 to %u are allowed",
                 (long long)st.st_size, TY_EXEC_PLAN_BYTES);
        goto fail;
    }
    size_t size = (size_t)st.st_size;
    bytes = malloc(size);
    ssize_t got = bytes ? pread(fd, bytes, size, 0) : -1;
    if (got != (ssize_t)size) {
        snprintf(message, TY_EXEC_MESSAGE_BYTES, "plan: cannot be read whole");
        goto fail;
    }
    if (bytes[size - 1] != 0) {
        snprintf(message, TY_EXEC_MESSAGE_BYTES, "plan: the last entry is cut off");
        goto fail;
    }
    close(fd);
    *ret_len = size;
    return bytes;
fail:
    free(bytes);
    if (fd >= 0)
        close(fd);
    return NULL;
}

static int list_add(char ***list, char *item)
{
    size_t count = 0;
    while (*list && (*list)[count])
        count++;
    // Grown at powers of two only.
    if ((count & (count + 1)) == 0) {
        char **grown = realloc(*list, (2 * count + 2) * sizeof *grown);
        if (!grown)
            return -1;
        *list = grown;
    }
    (*list)[count] = item;
    (*list)[count + 1] = NULL;
    return 0;
}

static int number(const char *text, uint64_t *ret_value)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    // The upper limit, some 290 years, keeps sums of nanoseconds within 64 bits.
    if (*text < '0' || *text > '9' || *end || errno || value > 9000000000000u)
        return -1;
    *ret_value = value;
    return 0;
}

static int take_step_entry(struct ty_exec_step *step, const char *key, char *value)
{
    if (!strcmp(key, "arg"))
        return step ? list_add(&step->argv, value) : -1;
    if (!strcmp(key, "timeout_ms"))
        return step ? number(value, &step->timeout_ms) : -1;
    return 0;
}

// One entry; what belongs to a step belongs to the last one begun.
static int take(struct ty_exec_plan *plan, const char *key, char *value)
{
    struct ty_exec_step *step = plan->step_count ? &plan->steps[plan->step_count - 1] : NULL;
    if (!strcmp(key, "grace_ms"))
        return number(value, &plan->grace_ms);
    if (!strcmp(key, "max_runtime_ms"))
        return number(value, &plan->max_runtime_ms);
    if (!strcmp(key, "lost_lease_limit_ms"))
        return number(value, &plan->lost_lease_limit_ms);
    if (!strcmp(key, "spool_limit_bytes"))
        return number(value, &plan->spool_limit_bytes);
    if (!strcmp(key, "on_lost_lease")) {
        plan->stop_on_lost = !strcmp(value, "stop");
        return plan->stop_on_lost || !strcmp(value, "continue") ? 0 : -1;
    }
    if (!strcmp(key, "boot_id"))
        return plan->boot_id = value, 0;
    if (!strcmp(key, "cwd"))
        return *(step ? &step->cwd : &plan->cwd) = value, *value == '/' ? 0 : -1;
    if (!strcmp(key, "env"))
        return *value && *value != '=' && strchr(value, '=') ? list_add(&plan->env, value) : -1;
    if (!strcmp(key, "step")) {
        if (!*value || plan->step_count == TY_EXEC_STEPS_MAX)
            return -1;
        plan->steps[plan->step_count++].name = value;
        return 0;
    }
    return take_step_entry(step, key, value);
}

static bool is_our_format(const char *key, const char *value)
{
    uint64_t format;
    return value && !strcmp(key, "format") && number(value, &format) == 0 &&
           format == TY_EXEC_FORMAT;
}

static int take_all(struct ty_exec_plan *plan, size_t len, char message[TY_EXEC_MESSAGE_BYTES])
{
    char *next, *end = plan->bytes + len;
    for (char *at = plan->bytes; at < end; at = next) {
        next = at + strlen(at) + 1;
        char *value = strchr(at, '=');
        if (value)
            *value++ = 0;
        bool good =
            at == plan->bytes ? is_our_format(at, value) : value && take(plan, at, value) == 0;
        if (!good) {
            snprintf(message, TY_EXEC_MESSAGE_BYTES,
                     "plan: entry \"%.64s%s%.64s\" is not understood", at, value ? "=" : "",
                     value ? value : "");
            return -1;
        }
    }
    return 0;
}

static int check(const struct ty_exec_plan *plan, char message[TY_EXEC_MESSAGE_BYTES])
{
    char boot_id[64];
    ty_exec_boot_id(boot_id);
    if (plan->boot_id && *boot_id && strcmp(plan->boot_id, boot_id) != 0) {
        snprintf(message, TY_EXEC_MESSAGE_BYTES,
                 "plan: was made before the machine was started again");
        return -1;
    }
    if (!plan->step_count) {
        snprintf(message, TY_EXEC_MESSAGE_BYTES, "plan: has no step");
        return -1;
    }
    for (size_t i = 0; i < plan->step_count; i++) {
        const struct ty_exec_step *step = &plan->steps[i];
        if (!step->argv || step->argv[0][0] != '/') {
            snprintf(message, TY_EXEC_MESSAGE_BYTES,
                     "plan: step \"%.64s\" has no program with an absolute path", step->name);
            return -1;
        }
    }
    return 0;
}

int ty_exec_plan_read(struct ty_exec_plan *plan, char message[TY_EXEC_MESSAGE_BYTES])
{
    size_t len = 0;
    *plan = (struct ty_exec_plan){.grace_ms = 30000, .lost_lease_limit_ms = 3600000};
    plan->bytes = read_all(&len, message);
    if (!plan->bytes || take_all(plan, len, message) < 0 || check(plan, message) < 0)
        return -1;
    return 0;
}

void ty_exec_plan_done(struct ty_exec_plan *plan)
{
    for (size_t i = 0; i < plan->step_count; i++)
        free(plan->steps[i].argv);
    free(plan->env);
    free(plan->bytes);
    *plan = (struct ty_exec_plan){0};
}
