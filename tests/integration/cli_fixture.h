// The built program trainyard as a child of one test, with what it prints. What goes wrong in here fails the running cmocka
// test. Settings go through the environment (setenv) or flags. One thread.
#pragma once

struct cli;

// Drops what the environment says to the program (TRAINYARD_*, NO_COLOR): first in every test program.
void cli_clear_environment(void);
// Starts it with these arguments; the last one is NULL. It dies with the test program. Owner frees with cli_free.
struct cli *cli_start(const char *first, ...) __attribute__((sentinel));
// The same, with a terminal as its stdout and stderr, both read by cli_out.
struct cli *cli_start_on_terminal(const char *first, ...) __attribute__((sentinel));
// Starts it and waits for its end.
struct cli *cli_run(const char *first, ...) __attribute__((sentinel));

// Waits until what it has printed has the text.
void cli_expect_out(struct cli *cli, const char *text);
void cli_expect_err(struct cli *cli, const char *text);
// Waits for the end; returns the exit status (-signal when a signal ended it).
int cli_end(struct cli *cli);
// What was printed so far, borrowed.
const char *cli_out(struct cli *cli);
const char *cli_err(struct cli *cli);
void cli_free(struct cli *cli);

// Runs it and fails unless it ends with this status.
#define cli_expect(status, ...)                                                                                            \
    ({                                                                                                                     \
        struct cli *expected_ = cli_run(__VA_ARGS__, NULL);                                                                \
        if (cli_end(expected_) != (status))                                                                                \
            fail_msg("exit %d instead of %d: %s%s", cli_end(expected_), (status), cli_out(expected_), cli_err(expected_)); \
        expected_;                                                                                                         \
    })
