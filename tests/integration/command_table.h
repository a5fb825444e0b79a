// schemas/commands.json as the tests go through it: what each command does to a job in each state, by each road. Include
// cmocka.h first.
#pragma once

#include "tests/integration/state_client.h"

#define COMMAND_STATES 10u

enum table_command { TABLE_SUBMIT, TABLE_SUBMIT_OTHER, TABLE_CANCEL, TABLE_DELETE, TABLE_COMMANDS };

struct table_cell {
    int answer; // enum ty_applied by Kafka, the gRPC status by RPC
    unsigned next;
};
struct command_table {
    char states[COMMAND_STATES][24];
    struct table_cell kafka[COMMAND_STATES][TABLE_COMMANDS], rpc[COMMAND_STATES][TABLE_COMMANDS];
};

// From the source tree. What does not fit fails the test.
void command_table_load(struct command_table *table);
const char *command_table_name(enum table_command command);
unsigned command_table_state(const struct command_table *table, const char *name);

// What the table says of a sequence so far: where the job is, and which of two bodies it has (none: TABLE_COMMANDS).
struct table_reading {
    unsigned state;
    enum table_command body;
};
// The row that is meant: in the table "other" is another body than the job's; in a sequence it is the other of two, and may be the
// job's own.
struct table_cell command_table_cell(const struct command_table *table, bool by_rpc, struct table_reading reading,
                                     enum table_command command);
struct table_reading command_table_read(const struct command_table *table, bool by_rpc, struct table_reading reading,
                                        enum table_command command);

// As an intake applies a command that it has read, or a responder its own (mark NULL). The bodies are those of state_record, model
// "digits" and "other". The enum ty_applied.
int command_table_apply(struct state_client *client, enum table_command command, const struct ty_id *id,
                        const struct ty_watermark *mark);

// Brings an unknown job into a state: submit() is called with context where the job has to be there, and is to make it PENDING. The
// attempt that has the job, if there is one, goes to *ret_claim.
typedef void (*table_submit_fn)(void *context, const struct ty_id *id);
void command_table_reach(const struct command_table *table, struct state_client *client, unsigned state, const struct ty_id *id,
                         table_submit_fn submit, void *context, struct state_claim *ret_claim);
// The state that the store has it in.
unsigned command_table_look(const struct command_table *table, struct state_client *client, const struct ty_id *id);
