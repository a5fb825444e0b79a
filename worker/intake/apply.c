#include "worker/intake/apply.h"

#include <string.h>

#include "core/key.h"
#include "core/record.h"
#include "core/rule.h"

static void keep(const struct ty_spec *spec, uint64_t time_us, bool is_custom, enum ty_job_reason reason,
                 const char *message, struct ty_buf *arena, struct ty_prepared *prepared)
{
    prepared->has_command = true;
    prepared->record_at = arena->len;
    ty_record_encode_new(spec, time_us, is_custom, reason, message, arena);
    prepared->command.record_len = arena->len - prepared->record_at;
    prepared->organization_at = arena->len;
    ty_buf_add(arena, spec->organization_id, strlen(spec->organization_id) + 1);
}

// The job that says why it is none.
static void keep_refused(const struct ty_command *command, uint64_t time_us, const struct ty_err *err,
                         struct ty_buf *arena, struct ty_prepared *prepared)
{
    const Trainyard__V1__JobCommand *message = command->message;
    bool is_custom = message && command->kind == TY_COMMAND_SUBMIT_CUSTOM;
    struct ty_spec spec;
    ty_spec_build_refused(&command->job_id, time_us, message && !is_custom ? message->submit : NULL,
                          is_custom ? message->submit_custom : NULL, &spec);
    prepared->command.kind = TY_COMMAND_SUBMIT;
    prepared->command.job_id = command->job_id;
    keep(&spec, time_us, is_custom, TY_REASON_REFUSED, err->message, arena, prepared);
    ty_spec_done(&spec);
}

static void prepare_submit(const struct ty_catalog *catalog, const struct ty_command *command, uint64_t time_us,
                           struct ty_buf *arena, struct ty_prepared *prepared, struct ty_err *err)
{
    const Trainyard__V1__JobCommand *message = command->message;
    bool is_custom = command->kind == TY_COMMAND_SUBMIT_CUSTOM;
    struct ty_spec spec;
    if (ty_spec_build(catalog, &command->job_id, time_us, is_custom ? NULL : message->submit,
                      is_custom ? message->submit_custom : NULL, message->options, &spec, err) < 0) {
        prepared->is_refused = true;
        keep_refused(command, time_us, err, arena, prepared);
        return;
    }
    keep(&spec, time_us, is_custom, TY_REASON_NONE, NULL, arena, prepared);
    ty_spec_done(&spec);
}

static void prepare_rule(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len, struct ty_buf *arena,
                         struct ty_prepared *prepared, struct ty_err *err)
{
    struct ty_rule rule;
    if (ty_rule_decode(key, key_len, value, value_len, &rule, err) < 0) {
        prepared->is_refused = true;
        return;
    }
    prepared->has_command = true;
    prepared->command.kind = TY_APPLY_RULE;
    prepared->record_at = arena->len;
    if (rule.is_set)
        ty_buf_add_format(arena, "%u", rule.kind == TY_RULE_PAUSE ? 1 : rule.max_running);
    prepared->command.record_len = arena->len - prepared->record_at;
    prepared->organization_at = arena->len;
    ty_buf_add(arena, rule.name, strlen(rule.name) + 1);
    ty_rule_done(&rule);
}

// The store has keys as Kafka has them.
static void prepare_key(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len, struct ty_buf *arena,
                        struct ty_prepared *prepared, struct ty_err *err)
{
    struct ty_key decoded;
    char name[TY_KEY_NAME_BYTES];
    if (ty_key_decode(key, key_len, value, value_len, &decoded, err) < 0) {
        prepared->is_refused = true;
        return;
    }
    prepared->has_command = true;
    prepared->command.kind = TY_APPLY_KEY;
    prepared->record_at = arena->len;
    ty_buf_add(arena, value, value_len);
    prepared->command.record_len = value_len;
    prepared->organization_at = arena->len;
    ty_key_name(&decoded.id, decoded.is_revocation, name);
    ty_buf_add(arena, name, strlen(name) + 1);
}

void ty_prepare(const struct ty_catalog *catalog, enum ty_topic_kind topic_kind, const uint8_t *key, size_t key_len,
                const uint8_t *value, size_t value_len, uint64_t time_us, struct ty_buf *arena,
                struct ty_prepared *ret_prepared, struct ty_err *err)
{
    struct ty_command command;
    bool has_id;
    *ret_prepared = (struct ty_prepared){0};
    if (topic_kind == TY_TOPIC_SETTINGS) {
        if (key && ty_key_is_name(key, key_len))
            prepare_key(key, key_len, value, value_len, arena, ret_prepared, err);
        else
            prepare_rule(key, key_len, value, value_len, arena, ret_prepared, err);
        return;
    }
    if (ty_command_decode(topic_kind, key, key_len, value, value_len, &command, &has_id, err) < 0) {
        ret_prepared->is_refused = ret_prepared->is_undecoded = true;
        if (has_id && topic_kind == TY_TOPIC_SUBMIT)
            keep_refused(&command, time_us, err, arena, ret_prepared);
        return;
    }
    ret_prepared->command.kind = (int)command.kind;
    ret_prepared->command.job_id = command.job_id;
    if (topic_kind == TY_TOPIC_SUBMIT)
        prepare_submit(catalog, &command, time_us, arena, ret_prepared, err);
    else
        ret_prepared->has_command = true;
    ty_command_done(&command);
}

struct ty_apply ty_prepared_command(const struct ty_prepared *prepared, const struct ty_buf *arena)
{
    struct ty_apply command = prepared->command;
    if (command.record_len || command.kind == TY_APPLY_RULE) {
        command.record = arena->data + prepared->record_at;
    }
    if (command.record_len || command.kind == TY_APPLY_RULE || prepared->has_signer)
        command.organization_id = (const char *)arena->data + prepared->organization_at;
    return command;
}
