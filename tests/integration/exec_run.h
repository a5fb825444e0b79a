// One attempt of trainyard-exec as a worker runs it: a directory with a plan and a control file, the supervisor as a child of
// the test, and what it leaves. Whatever goes wrong in here fails the running cmocka test. Include cmocka.h first.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/buf.h"
#include "worker/exec/protocol.h"

struct exec_run {
    char dir[64];
    struct ty_exec_control *control;
    pid_t pid; // 0: none
    bool mounted;
    struct ty_buf streams[4]; // by TY_EXEC_STREAM_*, after exec_run_read
    size_t frames;
    bool ended, torn;
};

// entries: those of the plan behind format, NULL-terminated; NULL: no plan is written.
void exec_run_init(struct exec_run *run, const char *const *entries);
void exec_run_done(struct exec_run *run);
// Over an empty tmpfs of this size; false where that may not be mounted.
bool exec_run_init_on_disk(struct exec_run *run, const char *size, const char *const *entries);

void exec_run_start(struct exec_run *run);
// Its exit code, at the latest after 20 s; -signal when it was killed.
int exec_run_wait(struct exec_run *run);
// Until the file in the directory is there, and has this text if it is not NULL; 20 s at most.
void exec_run_await_file(struct exec_run *run, const char *name, const char *text);
// Sets the request and signals, as a worker does.
void exec_run_stop(struct exec_run *run, enum ty_exec_stop stop);

// A value of the exit record ("outcome"), in static memory; NULL when there is no record or no such key.
const char *exec_run_value(struct exec_run *run, const char *key);
// Reads the whole spool.
void exec_run_read(struct exec_run *run);
const char *exec_run_text(struct exec_run *run, unsigned stream);
// Runs it all: init, start, wait, read. Fails the test unless the supervisor exits 0 with this outcome.
void exec_run_all(struct exec_run *run, const char *const *entries, const char *outcome);
