// The table of commands (schemas/commands.json) held against the store: each row, and every sequence of up to five commands
// from nothing and of up to three from each state, with and without a watermark.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "tests/integration/command_table.h"

static struct redis_server *server;
static struct state_client client;
static struct command_table table;
static int64_t marks[3]; // the next offset of each command topic

static void submit_plain(void *context, const struct ty_id *id)
{
    (void)context;
    assert_int_equal(state_submit(&client, id, NULL), TY_APPLIED);
}

// As an intake that has read it from Kafka (marked), or as a responder applies what it has published itself.
static int apply(enum table_command command, const struct ty_id *id, bool marked)
{
    static const char *const topics[] = {"submit", "cancel", "delete"};
    unsigned topic = command <= TABLE_SUBMIT_OTHER ? 0 : command == TABLE_CANCEL ? 1 : 2;
    struct ty_watermark mark = {topics[topic], 0, marks[topic], marks[topic] + 1};
    marks[topic] += marked;
    return command_table_apply(&client, command, id, marked ? &mark : NULL);
}

// Nothing is left to claim for the next one, and nothing left behind.
static void clear(const struct ty_id *id, const struct state_claim *claim)
{
    state_control(&client, TY_COMMAND_DELETE, id);
    if (claim->attempt)
        state_finish(&client, claim, TY_FINISH_CANCELED, TY_REASON_CANCELED);
    assert_int_equal(command_table_look(&table, &client, id), command_table_state(&table, "DELETED"));
    state_check(&client, id, "acme");
}

static void every_row_is_what_the_store_does(void **state)
{
    (void)state;
    for (unsigned at = 0; at < COMMAND_STATES * TABLE_COMMANDS * 2; at++) {
        bool marked = at % 2;
        enum table_command command = at / 2 % TABLE_COMMANDS;
        unsigned from = at / 2 / TABLE_COMMANDS;
        struct table_cell cell = table.kafka[from][command];
        struct ty_id id = ty_id_new();
        struct state_claim claim = {0};
        command_table_reach(&table, &client, from, &id, submit_plain, NULL, &claim);
        struct state_view before = state_get(&client, &id);
        int answer = apply(command, &id, marked);
        unsigned next = command_table_look(&table, &client, &id);
        if (answer != cell.answer || next != cell.next)
            fail_msg("%s, %s: the store answers %d and the job is %s; the table says %d and %s", table.states[from],
                     command_table_name(command), answer, table.states[next], cell.answer, table.states[cell.next]);
        struct state_view after = state_get(&client, &id);
        if (next == from && before.found && memcmp(&before, &after, sizeof before) != 0)
            fail_msg("%s, %s: the job changed", table.states[from], command_table_name(command));
        state_check(&client, &id, "acme");
        clear(&id, &claim);
    }
}

// ---- sequences ----

static struct table_reading read_on(struct table_reading reading, enum table_command command)
{
    return command_table_read(&table, false, reading, command);
}

static struct table_reading read_all(unsigned from, enum table_command body, const enum table_command *commands, size_t count)
{
    struct table_reading reading = {from, body};
    for (size_t i = 0; i < count; i++)
        reading = read_on(reading, commands[i]);
    return reading;
}

static const char *text_of(const enum table_command *commands, size_t count)
{
    static char text[128];
    text[0] = 0;
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? ", " : "", command_table_name(commands[i]));
    return text;
}

static enum table_command first_submit(const enum table_command *commands, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (commands[i] <= TABLE_SUBMIT_OTHER)
            return commands[i];
    return TABLE_COMMANDS;
}

// The sorted sequence of the same set, each command once, but the submit that came first at the front: what every order and
// any repetition of them must come to. This is the whole of what order decides: which of two bodies a job has.
static size_t plain_form(const enum table_command *commands, size_t count, enum table_command *out)
{
    size_t used = 0;
    enum table_command first = first_submit(commands, count);
    if (first != TABLE_COMMANDS)
        out[used++] = first;
    for (enum table_command command = TABLE_SUBMIT; command < TABLE_COMMANDS; command++)
        for (size_t i = 0; i < count; i++)
            if (commands[i] == command && command != first) {
                out[used++] = command;
                break;
            }
    return used;
}

static void next_sequence(enum table_command *commands, size_t count)
{
    for (size_t i = count; i-- > 0;) {
        commands[i] = (commands[i] + 1) % TABLE_COMMANDS;
        if (commands[i])
            return;
    }
}

static size_t how_many(size_t count)
{
    size_t total = 1;
    while (count--)
        total *= TABLE_COMMANDS;
    return total;
}

static void in_the_table_order_means_nothing(void **state)
{
    enum { LONGEST = 7 };
    enum table_command commands[LONGEST], plain[LONGEST];
    size_t seen = 0;
    (void)state;
    for (unsigned from = 0; from < COMMAND_STATES; from++)
        for (size_t count = 1; count <= LONGEST; count++) {
            memset(commands, 0, sizeof commands);
            for (size_t i = 0; i < how_many(count); i++, next_sequence(commands, count), seen++) {
                struct table_reading here = read_all(from, TABLE_COMMANDS, commands, count);
                struct table_reading there = read_all(from, TABLE_COMMANDS, plain, plain_form(commands, count, plain));
                if (here.state != there.state)
                    fail_msg("from %s, %s: %s, but in another order %s", table.states[from], text_of(commands, count),
                             table.states[here.state], table.states[there.state]);
                bool there_is_a_job = here.state > command_table_state(&table, "DELETED");
                if (!from && there_is_a_job && here.body != first_submit(commands, count))
                    fail_msg("%s: not the first of the bodies", text_of(commands, count));
            }
        }
    assert_int_equal(seen, COMMAND_STATES * (how_many(LONGEST + 1) - TABLE_COMMANDS) / (TABLE_COMMANDS - 1));
}

// The body that the stored job has, by its digest.
static void check_body(const struct ty_id *id, enum table_command body, const char *what)
{
    TY_BUF(record);
    struct state_job job = {.model_name = body == TABLE_SUBMIT_OTHER ? "other" : NULL};
    struct ty_record wanted;
    struct ty_err err;
    state_record(&client, id, &job, &record);
    assert_int_equal(ty_record_decode(record.data, record.len, &wanted, &err), 0);
    char digest[sizeof wanted.digest];
    memcpy(digest, STATE_RAW(&client, id, "GETRANGE", "{ty:0}:j:%", "96", "111").text, sizeof digest);
    if (memcmp(digest, wanted.digest, sizeof digest) != 0)
        fail_msg("%s: the job has not the body of its first submit", what);
}

// Each sequence at the store, command by command, against the table's reading of it.
static void run_sequences(unsigned from, size_t longest)
{
    enum table_command commands[8];
    unsigned pending = command_table_state(&table, "PENDING");
    for (size_t count = 1; count <= longest; count++) {
        memset(commands, 0, sizeof commands);
        for (size_t i = 0; i < how_many(count); i++, next_sequence(commands, count)) {
            struct ty_id id = ty_id_new();
            struct state_claim claim = {0};
            struct table_reading reading = {from, from >= pending ? TABLE_SUBMIT : TABLE_COMMANDS};
            command_table_reach(&table, &client, from, &id, submit_plain, NULL, &claim);
            for (size_t at = 0; at < count; at++) {
                int answer = apply(commands[at], &id, (i + at) % 2);
                if (answer != command_table_cell(&table, false, reading, commands[at]).answer)
                    fail_msg("from %s, %s: the answer to number %zu was %d", table.states[from], text_of(commands, count), at + 1,
                             answer);
                reading = read_on(reading, commands[at]);
            }
            unsigned end = command_table_look(&table, &client, &id);
            if (end != reading.state)
                fail_msg("from %s, %s: the job is %s, by the table it is %s", table.states[from], text_of(commands, count),
                         table.states[end], table.states[reading.state]);
            if (end >= pending)
                check_body(&id, reading.body, text_of(commands, count));
            state_check(&client, &id, "acme");
            clear(&id, &claim);
        }
    }
}

static void every_sequence_of_five_comes_to_what_the_table_says(void **state)
{
    (void)state;
    run_sequences(command_table_state(&table, "UNKNOWN"), 5);
}

static void and_of_three_from_every_state(void **state)
{
    (void)state;
    for (unsigned from = 0; from < COMMAND_STATES; from++)
        run_sequences(from, 3);
}

static int setup(void **state)
{
    (void)state;
    server = redis_server_new(&(struct redis_server_options){.unix_socket = true});
    redis_server_start(server);
    state_client_open(&client, server, 1);
    command_table_load(&table);
    for (unsigned i = 0; i < 3; i++)
        state_attach(&client, "cluster-1", (const char *[]){"submit", "cancel", "delete"}[i], 0, NULL);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done"); // as a publisher would, of a new installation
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    state_client_close(&client);
    redis_server_free(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_what_the_store_does),
        cmocka_unit_test(in_the_table_order_means_nothing),
        cmocka_unit_test(every_sequence_of_five_comes_to_what_the_table_says),
        cmocka_unit_test(and_of_three_from_every_state),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
