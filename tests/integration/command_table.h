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

// Brings an unknown job into a state: submit() is called with context where the job has to be there, and is to make it PENDING. The
// attempt that has the job, if there is one, goes to *ret_claim.
typedef void (*table_submit_fn)(void *context, const struct ty_id *id);
void command_table_reach(const struct command_table *table, struct state_client *client, unsigned state, const struct ty_id *id,
                         table_submit_fn submit, void *context, struct state_claim *ret_claim);
// The state that the store has it in.
unsigned command_table_look(const struct command_table *table, struct state_client *client, const struct ty_id *id);
