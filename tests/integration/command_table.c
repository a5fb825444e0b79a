#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "tests/integration/command_table.h"

static const char *const names[TABLE_COMMANDS] = {"submit", "submit_other", "cancel", "delete"};

struct answer {
    const char *text;
    int number;
};
static const struct answer kafka_answers[] = {{"applied", TY_APPLIED},         {"duplicate", TY_APPLY_DUPLICATE},
                                         {"conflict", TY_APPLY_CONFLICT}, {"no-op", TY_APPLY_NOOP},
                                         {"remembered", TY_APPLY_TOMBSTONE}, {"deleted", TY_APPLY_DELETED}, {NULL, 0}};
static const struct answer rpc_answers[] = {{"OK", 0}, {"NOT_FOUND", 5}, {"ALREADY_EXISTS", 6}, {"FAILED_PRECONDITION", 9}, {NULL, 0}};

const char *command_table_name(enum table_command command)
{
    return names[command];
}

unsigned command_table_state(const struct command_table *table, const char *name)
{
    for (unsigned i = 0; i < COMMAND_STATES; i++)
        if (!strcmp(table->states[i], name))
            return i;
    fail_msg("commands.json: there is no state %s", name);
    return 0;
}

static unsigned command_of(const char *name)
{
    for (unsigned i = 0; i < TABLE_COMMANDS; i++)
        if (!strcmp(names[i], name))
            return i;
    fail_msg("commands.json: the tests do not know the command %s", name);
    return 0;
}

static struct table_cell read_cell(const struct command_table *table, json_t *pair, const struct answer *answers)
{
    const char *text = json_string_value(json_array_get(pair, 0)), *next = json_string_value(json_array_get(pair, 1));
    assert_non_null(text);
    assert_non_null(next);
    while (answers->text && strcmp(answers->text, text) != 0)
        answers++;
    if (!answers->text)
        fail_msg("commands.json: the tests do not know the answer %s", text);
    return (struct table_cell){answers->number, command_table_state(table, next)};
}

void command_table_load(struct command_table *table)
{
    json_error_t error;
    json_t *file = json_load_file(TY_SOURCE_DIR "/schemas/commands.json", JSON_REJECT_DUPLICATES, &error), *row, *value;
    bool seen[COMMAND_STATES][TABLE_COMMANDS] = {0};
    const char *name;
    size_t count = 0, at;
    if (!file)
        fail_msg("commands.json, line %d: %s", error.line, error.text);
    json_object_foreach (json_object_get(file, "states"), name, value) {
        assert_true(count < COMMAND_STATES);
        snprintf(table->states[count], sizeof table->states[count], "%s", name);
        count++;
    }
    assert_int_equal(count, COMMAND_STATES);
    json_array_foreach (json_object_get(file, "rows"), at, row) {
        unsigned state = command_table_state(table, json_string_value(json_object_get(row, "state")));
        unsigned command = command_of(json_string_value(json_object_get(row, "command")));
        assert_false(seen[state][command]);
        seen[state][command] = true;
        table->kafka[state][command] = read_cell(table, json_object_get(row, "kafka"), kafka_answers);
        table->rpc[state][command] = read_cell(table, json_object_get(row, "rpc"), rpc_answers);
    }
    assert_int_equal(at, COMMAND_STATES * TABLE_COMMANDS);
    json_decref(file);
}

struct table_cell command_table_cell(const struct command_table *table, bool by_rpc, struct table_reading reading,
                                     enum table_command command)
{
    if (command <= TABLE_SUBMIT_OTHER && reading.body != TABLE_COMMANDS)
        command = command == reading.body ? TABLE_SUBMIT : TABLE_SUBMIT_OTHER;
    return (by_rpc ? table->rpc : table->kafka)[reading.state][command];
}

struct table_reading command_table_read(const struct command_table *table, bool by_rpc, struct table_reading reading,
                                        enum table_command command)
{
    unsigned next = command_table_cell(table, by_rpc, reading, command).next;
    if (command <= TABLE_SUBMIT_OTHER && next != reading.state)
        reading.body = command;
    reading.state = next;
    return reading;
}

int command_table_apply(struct state_client *client, enum table_command command, const struct ty_id *id,
                        const struct ty_watermark *mark)
{
    static const struct state_job plain, other = {.model_name = "other"};
    static const enum ty_command_kind kinds[] = {TY_COMMAND_SUBMIT_CUSTOM, TY_COMMAND_SUBMIT_CUSTOM, TY_COMMAND_CANCEL,
                                                 TY_COMMAND_DELETE};
    bool is_submit = command <= TABLE_SUBMIT_OTHER;
    TY_BUF(record);
    if (is_submit)
        state_record(client, id, command == TABLE_SUBMIT ? &plain : &other, &record);
    struct ty_apply one = {.kind = kinds[command], .job_id = *id, .record = record.data, .record_len = record.len,
                           .organization_id = is_submit ? "acme" : NULL};
    struct state_applied applied = state_apply(client, &one, 1, mark);
    assert_int_equal(applied.code, TY_OK);
    assert_false(applied.gap);
    return applied.results[0];
}

// What is done after the submit: K a worker claims it, C cancel, D delete, and the letter of an enum ty_finish_action for its
// end. Without S there is no submit.
static const char *steps_to(const char *state)
{
    static const char *const ways[][2] = {{"UNKNOWN", ""},        {"TO_CANCEL", "c"},   {"DELETED", "d"},
                                          {"PENDING", "S"},       {"IN_PROGRESS", "SK"}, {"CANCELING", "SKc"},
                                          {"CANCELING_DELETE", "SKd"}, {"COMPLETED", "SKC"}, {"FAILED", "SKF"},
                                          {"CANCELED", "Sc"}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (!strcmp(ways[i][0], state))
            return ways[i][1];
    fail_msg("commands.json: the tests cannot make the state %s", state);
    return NULL;
}

void command_table_reach(const struct command_table *table, struct state_client *client, unsigned state, const struct ty_id *id,
                         table_submit_fn submit, void *context, struct state_claim *ret_claim)
{
    for (const char *step = steps_to(table->states[state]); *step; step++) {
        switch (*step) {
        case 'S': submit(context, id); break;
        case 'K': *ret_claim = state_claim_one(client, id, STATE_LEASE_MS); break;
        case 'c': state_control(client, TY_COMMAND_CANCEL, id); break;
        case 'd': state_control(client, TY_COMMAND_DELETE, id); break;
        default:
            assert_int_equal(state_finish(client, ret_claim, (enum ty_finish_action)*step, TY_REASON_NONE), TY_FINISHED);
        }
    }
    unsigned now = command_table_look(table, client, id);
    if (now != state)
        fail_msg("a job that was to be %s is %s", table->states[state], table->states[now]);
}

unsigned command_table_look(const struct command_table *table, struct state_client *client, const struct ty_id *id)
{
    char key[32];
    struct state_view view = state_get(client, id);
    if (view.found) {
        bool going = view.state == TY_JOB_CANCELING && (view.flags & TY_FLAG_DELETE);
        return command_table_state(table, going ? "CANCELING_DELETE" : ty_state_name(view.state));
    }
    snprintf(key, sizeof key, "{ty:%u}:j:%%", ty_state_shard_of(client->state, id));
    if (!STATE_RAW(client, id, "EXISTS", key).integer)
        return command_table_state(table, "UNKNOWN");
    return command_table_state(table, STATE_RAW(client, id, "GETRANGE", key, "4", "4").text[0] & TY_FLAG_DELETE ? "DELETED" : "TO_CANCEL");
}
