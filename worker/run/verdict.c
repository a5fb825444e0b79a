#include "worker/run/verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/wire.h"
#include "worker/run/job_dir.h"

// gRPC status numbers.
enum {
    UNKNOWN = 2,
    DEADLINE_EXCEEDED = 4,
    RESOURCE_EXHAUSTED = 8,
    FAILED_PRECONDITION = 9,
    INTERNAL = 13,
    UNAVAILABLE = 14,
};

#define STAGE_STORE_TROUBLE 3 // exit codes of trainyard-stage
#define STAGE_USAGE 2
#define EMPTY_OUTPUT_LINE "the script left no files in its output directory"

enum step { PREPARE, INSTALL, TRAIN, COLLECT, STEPS };

// ---- the exit record ----

static char *field(const struct ty_buf *text, const char *key)
{
    char *value = ty_job_dir_field(text, key);
    return value ? value : ty_xstrdup("");
}

static int number(const struct ty_buf *text, const char *key)
{
    char *value TY_FREE = ty_job_dir_field(text, key);
    return value ? atoi(value) : 0;
}

void ty_ending_parse(const struct ty_buf *text, struct ty_ending *ret_ending)
{
    char *ended TY_FREE = ty_job_dir_field(text, "ended_us");
    *ret_ending = (struct ty_ending){
        .outcome = field(text, "outcome"),
        .step = field(text, "step"),
        .message = field(text, "message"),
        .code = number(text, "code"),
        .signal_number = number(text, "signal"),
        .ended_us = ended ? strtoull(ended, NULL, 10) : 0,
    };
    if (*ret_ending->outcome && number(text, "format") == 1)
        return;
    free(ret_ending->outcome);
    ret_ending->outcome = ty_xstrdup("gone");
}

void ty_ending_done(struct ty_ending *ending)
{
    free(ending->outcome);
    free(ending->step);
    free(ending->message);
    *ending = (struct ty_ending){0};
}

// ---- judging ----

static enum step step_of(const struct ty_ending *ending)
{
    static const char *const names[STEPS] = {"prepare", "install", "train", "collect"};
    for (int i = 0; i < STEPS; i++)
        if (!strcmp(ending->step, names[i]))
            return (enum step)i;
    return PREPARE; // ended before its first step
}

static void set(struct ty_verdict *verdict, enum ty_finish_action action, enum ty_job_reason reason, int grpc_code)
{
    verdict->is_told = true;
    verdict->action = action;
    verdict->reason = reason;
    verdict->grpc_code = grpc_code;
}

static void judge_exit(const struct ty_ending *ending, const char *tail, struct ty_verdict *verdict)
{
    bool store_trouble = ending->code == STAGE_STORE_TROUBLE;
    switch (step_of(ending)) {
    case PREPARE:
        if (ending->code == STAGE_USAGE)
            set(verdict, TY_FINISH_RETRY, TY_REASON_INTERNAL, INTERNAL);
        else
            set(verdict, store_trouble ? TY_FINISH_RETRY : TY_FINISH_FAILED, TY_REASON_PREPARE_FAILED,
                store_trouble ? UNAVAILABLE : FAILED_PRECONDITION);
        break;
    case INSTALL:
        set(verdict, TY_FINISH_FAILED, TY_REASON_INSTALL_FAILED, FAILED_PRECONDITION);
        break;
    case TRAIN: {
        bool is_missing = ending->code == 126 || ending->code == 127; // as a shell inside the script says it
        set(verdict, TY_FINISH_FAILED, is_missing ? TY_REASON_NOT_EXECUTABLE : TY_REASON_SCRIPT_EXIT, UNKNOWN);
        break;
    }
    default:
        if (ending->code == STAGE_USAGE)
            set(verdict, TY_FINISH_RETRY, TY_REASON_INTERNAL, INTERNAL);
        else if (store_trouble)
            set(verdict, TY_FINISH_RETRY, TY_REASON_COLLECT_FAILED, UNAVAILABLE);
        else
            set(verdict, TY_FINISH_FAILED,
                strstr(tail, EMPTY_OUTPUT_LINE) ? TY_REASON_EMPTY_OUTPUT : TY_REASON_COLLECT_FAILED, FAILED_PRECONDITION);
        break;
    }
}

// A signal that nobody of ours sent.
static void judge_signal(const struct ty_ending *ending, const char *tail, struct ty_verdict *verdict)
{
    (void)tail;
    switch (step_of(ending)) {
    case INSTALL:
        set(verdict, TY_FINISH_FAILED, TY_REASON_INSTALL_FAILED, UNKNOWN);
        break;
    case TRAIN:
        set(verdict, TY_FINISH_FAILED, TY_REASON_SIGNAL, UNKNOWN);
        break;
    default:
        set(verdict, TY_FINISH_RETRY, TY_REASON_INTERNAL, INTERNAL);
        break;
    }
}

static void judge_missing_program(const struct ty_ending *ending, const char *tail, struct ty_verdict *verdict)
{
    (void)tail;
    bool is_ours = step_of(ending) == PREPARE || step_of(ending) == COLLECT;
    set(verdict, is_ours ? TY_FINISH_RETRY : TY_FINISH_FAILED, is_ours ? TY_REASON_INTERNAL : TY_REASON_NOT_EXECUTABLE,
        is_ours ? INTERNAL : FAILED_PRECONDITION);
}

static void judge_step_timeout(const struct ty_ending *ending, const char *tail, struct ty_verdict *verdict)
{
    static const enum ty_job_reason reasons[STEPS] = {TY_REASON_PREPARE_FAILED, TY_REASON_INSTALL_FAILED, TY_REASON_DEADLINE,
                                                      TY_REASON_COLLECT_FAILED};
    (void)tail;
    // prepare and collect wait for nothing but the store.
    bool is_ours = step_of(ending) == PREPARE || step_of(ending) == COLLECT;
    set(verdict, is_ours ? TY_FINISH_RETRY : TY_FINISH_FAILED, reasons[step_of(ending)], DEADLINE_EXCEEDED);
}

static const struct rule {
    const char *outcome;
    enum ty_finish_action action; // with judge NULL; 0: nothing is told
    enum ty_job_reason reason;
    int grpc_code;
    void (*judge)(const struct ty_ending *ending, const char *tail, struct ty_verdict *verdict);
} rules[] = {
    {"ok", TY_FINISH_COMPLETED, TY_REASON_NONE, 0, NULL},
    {"exit", 0, 0, 0, judge_exit},
    {"signal", 0, 0, 0, judge_signal},
    {"not_found", 0, 0, 0, judge_missing_program},
    {"not_executable", 0, 0, 0, judge_missing_program},
    {"canceled", TY_FINISH_CANCELED, TY_REASON_CANCELED, 0, NULL},
    {"drained", TY_FINISH_HAND_BACK, TY_REASON_HANDED_BACK, 0, NULL},
    {"lost", 0, TY_REASON_WORKER_LOST, 0, NULL},
    {"deadline", TY_FINISH_FAILED, TY_REASON_DEADLINE, DEADLINE_EXCEEDED, NULL},
    {"step_timeout", 0, 0, 0, judge_step_timeout},
    {"oom", TY_FINISH_FAILED, TY_REASON_OUT_OF_MEMORY, RESOURCE_EXHAUSTED, NULL},
    {"unkillable", TY_FINISH_FAILED, TY_REASON_UNKILLABLE, INTERNAL, NULL},
    {"internal", TY_FINISH_RETRY, TY_REASON_INTERNAL, INTERNAL, NULL},
    {"gone", TY_FINISH_RETRY, TY_REASON_WORKER_LOST, UNAVAILABLE, NULL},
};

static const struct rule *find_rule(const char *outcome)
{
    const size_t count = sizeof rules / sizeof *rules;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(rules[i].outcome, outcome))
            return &rules[i];
    return NULL;
}

// Whatever an exit record says: what is stored must be valid.
static void say(struct ty_verdict *verdict, const char *text)
{
    TY_BUF(valid);
    ty_utf8_repair(text, strlen(text), &valid);
    size_t len = ty_utf8_cut((const char *)valid.data, valid.len, sizeof verdict->text - 1);
    memcpy(verdict->text, ty_buf_text(&valid), len);
    verdict->text[len] = 0;
}

void ty_verdict_of(const struct ty_ending *ending, const char *tail, bool has_model, struct ty_verdict *ret_verdict)
{
    const struct rule *rule = find_rule(ending->outcome);
    *ret_verdict = (struct ty_verdict){0};
    say(ret_verdict, ending->message);
    if (!rule) {
        set(ret_verdict, TY_FINISH_RETRY, TY_REASON_INTERNAL, INTERNAL);
        char *text TY_FREE = ty_xasprintf("an exit record of the unknown outcome %.64s", ending->outcome);
        say(ret_verdict, text);
    } else if (rule->judge) {
        rule->judge(ending, tail, ret_verdict);
    } else if (rule->action) {
        set(ret_verdict, rule->action, rule->reason, rule->grpc_code);
    }
    if (!strcmp(ending->outcome, "gone"))
        say(ret_verdict, "the supervisor of the attempt ended without an exit record");
    if (ret_verdict->action == TY_FINISH_COMPLETED && !has_model) {
        set(ret_verdict, TY_FINISH_RETRY, TY_REASON_INTERNAL, INTERNAL);
        say(ret_verdict, "every step ended well, but the step collect left no record of a model");
    }
    if (ret_verdict->reason == TY_REASON_EMPTY_OUTPUT)
        say(ret_verdict, EMPTY_OUTPUT_LINE);
}

// ---- what the job wants to be tried again ----

#define SIGNAL_CODE 128 // a script killed by signal n has the code 128 + n, as a shell says it
#define KILLED_CODE 137 // of one that was killed for memory
#define INSTALL_BIT 0

static void set_bit(struct ty_retries *retries, unsigned bit, bool on)
{
    uint8_t mask = (uint8_t)(1u << bit % 8);
    retries->bits[bit / 8] = (uint8_t)(on ? retries->bits[bit / 8] | mask : retries->bits[bit / 8] & ~mask);
}

void ty_retries_of(const Trainyard__V1__RetryPolicy *policy, struct ty_retries *ret_retries)
{
    *ret_retries = (struct ty_retries){0};
    if (!policy)
        return;
    memset(ret_retries->bits, policy->on_error ? 0xff : 0, sizeof ret_retries->bits);
    set_bit(ret_retries, 126, false);
    set_bit(ret_retries, 127, false);
    for (size_t i = 0; i < policy->n_no_retry_exit_codes; i++)
        set_bit(ret_retries, policy->no_retry_exit_codes[i] % 256, false);
    for (size_t i = 0; i < policy->n_exit_codes; i++)
        set_bit(ret_retries, policy->exit_codes[i] % 256, true);
}

void ty_verdict_retry(const struct ty_ending *ending, const struct ty_retries *retries, struct ty_verdict *verdict)
{
    bool is_train = step_of(ending) == TRAIN, is_install = step_of(ending) == INSTALL;
    int bit = -1;
    if (verdict->action != TY_FINISH_FAILED || (!is_train && !is_install))
        return;
    if (verdict->reason == TY_REASON_OUT_OF_MEMORY)
        bit = is_train ? KILLED_CODE : INSTALL_BIT;
    else if (verdict->reason == TY_REASON_INSTALL_FAILED)
        bit = INSTALL_BIT;
    else if (verdict->reason == TY_REASON_SIGNAL && ending->signal_number > 0 && ending->signal_number < SIGNAL_CODE)
        bit = SIGNAL_CODE + ending->signal_number;
    else if (is_train && !strcmp(ending->outcome, "exit"))
        bit = ending->code;
    // Code 0 has the install's bit and is no failure.
    if (bit < 0 || bit > 255 || (bit == INSTALL_BIT && !is_install))
        return;
    if (retries->bits[bit / 8] >> bit % 8 & 1)
        verdict->action = TY_FINISH_RETRY;
}

// ---- telling ----

void ty_verdict_message(const struct ty_verdict *verdict, uint32_t attempt, const char *tail, const char *incomplete,
                        struct ty_buf *out)
{
    ty_buf_add_text(out, verdict->text);
    if (verdict->action == TY_FINISH_RETRY)
        ty_buf_add_format(out, " (in attempt %u, and none is left)", attempt);
    if (*incomplete)
        ty_buf_add_format(out, " (%s)", incomplete);
    if (*tail) {
        ty_buf_add_text(out, "\nlast lines of the log:\n");
        ty_buf_add_text(out, tail);
        if (out->len && out->data[out->len - 1] == '\n')
            out->len--;
    }
}

void ty_verdict_incomplete(uint64_t lines, uint64_t bytes, struct ty_buf *out)
{
    ty_buf_add_text(out, "log incomplete: the store did not take its ");
    if (lines || !bytes)
        ty_buf_add_format(out, "last %" PRIu64 " line%s", lines, lines == 1 ? "" : "s");
    if (bytes)
        ty_buf_add_format(out, "%slast %" PRIu64 " bytes of output", lines ? " and the " : "", bytes);
}

void ty_verdict_closing(const struct ty_verdict *verdict, uint32_t attempt, struct ty_buf *out)
{
    const char *word = "was lost";
    if (verdict->is_told)
        word = verdict->action == TY_FINISH_COMPLETED   ? "completed"
               : verdict->action == TY_FINISH_FAILED    ? "failed"
               : verdict->action == TY_FINISH_CANCELED  ? "was canceled"
               : verdict->action == TY_FINISH_HAND_BACK ? "was handed back to the queue"
                                                        : "ended with an error, and is tried again if an attempt is left";
    ty_buf_add_format(out, "attempt %u %s", attempt, word);
    if (*verdict->text)
        ty_buf_add_format(out, ": %s", verdict->text);
}
