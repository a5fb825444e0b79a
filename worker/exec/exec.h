// Inside trainyard-exec only: its plan, its output, its records, its family of processes. The program has one thread; its
// current directory is the attempt's.
#pragma once

#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "worker/exec/protocol.h"

#define TY_EXEC_TAIL_BYTES (256u * 1024) // kept in memory behind the spool's limit
#define TY_EXEC_MESSAGE_BYTES 1024 // one line for the exit record, NUL included

// ---- plan ----

struct ty_exec_step {
    const char *name;
    char **argv;
    const char *cwd; // NULL: the plan's
    uint64_t timeout_ms;
};

// What the worker wrote; all texts point into `bytes`.
struct ty_exec_plan {
    char *bytes;
    uint64_t grace_ms, max_runtime_ms, lost_lease_limit_ms;
    uint64_t spool_limit_bytes; // 0: none
    bool stop_on_lost;
    const char *cwd; // NULL: the attempt's directory
    const char *boot_id; // NULL: not given
    char **env;
    struct ty_exec_step steps[TY_EXEC_STEPS_MAX];
    size_t step_count;
};

// Reads ./plan. On failure returns -1 with a line in message. Either way ty_exec_plan_done frees what it holds.
int ty_exec_plan_read(struct ty_exec_plan *plan, char message[TY_EXEC_MESSAGE_BYTES]);
void ty_exec_plan_done(struct ty_exec_plan *plan);

// ---- output: the spool's writer ----

// What comes behind the limit: its last frames, to be written at the end.
struct ty_exec_tail {
    size_t start, len;
    uint8_t bytes[TY_EXEC_TAIL_BYTES];
};
// Returns how many bytes of older frames made room.
size_t ty_exec_tail_add(struct ty_exec_tail *tail, const struct ty_exec_frame *frame, const void *bytes);
// The oldest frame; false when there is none.
bool ty_exec_tail_take(struct ty_exec_tail *tail, struct ty_exec_frame *ret_frame, uint8_t bytes[TY_EXEC_FRAME_BYTES]);

struct ty_exec_output {
    int fd;
    int ballast_fd;   // a nameless file that keeps room on the disk for the last words
    uint64_t bytes;   // whole frames end here
    uint64_t dropped; // bytes that found no room since the last marker
    uint64_t limit;   // of `bytes`; 0: none. May be set behind open
    bool is_over;     // the limit was reached
    uint64_t left_out; // bytes that have gone from the tail
    struct ty_exec_control *control;
};

// Creates ./spool. Returns -1 with errno (EEXIST: this attempt was run before).
int ty_exec_output_open(struct ty_exec_output *output, struct ty_exec_control *control);
// Appends one frame, or counts its bytes as dropped when the disk has no room. Behind the limit the last frames are kept in memory. len is at most TY_EXEC_FRAME_BYTES.
void ty_exec_output_add(struct ty_exec_output *output, uint8_t stream, uint8_t step, const void *bytes, size_t len);
// A line of the supervisor's own.
void ty_exec_output_say(struct ty_exec_output *output, uint8_t step, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Gives the ballast back, writes what was kept behind the limit and the end frame, syncs and closes.
void ty_exec_output_end(struct ty_exec_output *output, uint8_t step);

// ---- pipes: the output's other end ----

enum { TY_EXEC_PIPES = 2 }; // stdout and stderr

struct ty_exec_pipes {
    int fds[TY_EXEC_PIPES]; // -1: closed
    bool rests;             // they are left alone for moments
    uint64_t window_ns;     // since when reads are counted
    unsigned reads;
};

// Returns -1 with errno; what is open then is closed by the caller, as always.
int ty_exec_pipes_open(struct ty_exec_pipes *pipes, int ret_write_fds[TY_EXEC_PIPES]);
void ty_exec_pipes_close(struct ty_exec_pipes *pipes);
bool ty_exec_pipes_are_open(const struct ty_exec_pipes *pipes);
// What is to be polled before the next read, and for how long at most, ms; -1: until something comes.
int ty_exec_pipes_wait(const struct ty_exec_pipes *pipes, struct pollfd fds[TY_EXEC_PIPES]);
// Takes what is there into the output; closes a pipe that has ended.
void ty_exec_pipes_read(struct ty_exec_pipes *pipes, const struct pollfd fds[TY_EXEC_PIPES], struct ty_exec_output *output,
                        uint8_t step);
// Reads what is left, no more than pipes hold, and closes them: whoever still holds an end may write for ever.
void ty_exec_pipes_drain(struct ty_exec_pipes *pipes, struct ty_exec_output *output, uint8_t step);

uint64_t ty_exec_clock_boot_ns(void);
uint64_t ty_exec_clock_wall_us(void);

// ---- records ----

struct ty_exec_outcome {
    const char *word; // of protocol.h
    const char *step;
    int code, signal_number;
    bool oom;
    uint64_t started_us, ended_us;
    char message[TY_EXEC_MESSAGE_BYTES];
};

// Fills out with this boot's id, or with nothing where it cannot be read.
void ty_exec_boot_id(char out[64]);
// step NULL: before the first.
int ty_exec_record_status(const struct ty_exec_step *step, pid_t step_pid, uint64_t step_started_us);
// Durable when it returns 0; -1 with errno.
int ty_exec_record_exit(const struct ty_exec_outcome *outcome);

// ---- children ----

// Starts the step as leader of a session of its own, its output going to the two descriptors. Returns its pid, or -1 with
// the outcome word and a line that says why.
pid_t ty_exec_child_start(const struct ty_exec_plan *plan, const struct ty_exec_step *step, int out_fd, int err_fd,
                          const char **ret_word, char message[TY_EXEC_MESSAGE_BYTES]);
// Makes the supervisor a worse victim for the out-of-memory killer than its children, where it may.
void ty_exec_child_shield(void);

// ---- proc: what the kernel tells, as text; in between stand names that others chose ----

#define TY_EXEC_NAME_BYTES 64 // of a process' name, NUL included

struct ty_exec_stat {
    pid_t parent;
    uint64_t start_time;
    char state;
};

// Of /proc/<pid>/stat. False when it is none.
bool ty_exec_proc_stat(const char *text, struct ty_exec_stat *ret_stat, char name[TY_EXEC_NAME_BYTES]);
// Of /proc/self/cgroup: our group in the hierarchy of the memory controller, version 2 (unified) or 1. False: in none.
bool ty_exec_proc_group(FILE *file, bool unified, char out[PATH_MAX]);
// Of /proc/self/mountinfo: where that hierarchy is mounted, and which group of it is the mount's root (a container may see
// only its own). False: it is not mounted.
bool ty_exec_proc_mount(FILE *file, bool unified, char dir[PATH_MAX], char root[PATH_MAX]);
// The group as a path below the mount, "" for its root. A group outside of what is mounted is our own group's name as
// another namespace has it: the mount's root is ours. Borrowed from group.
const char *ty_exec_proc_below(const char *group, const char *root);
// Of memory.events or memory.oom_control: the count of out-of-memory kills; 0 when there is none.
uint64_t ty_exec_proc_oom_kills(FILE *file);

// ---- family: every descendant of this process, which is their reaper ----

enum ty_exec_family_act {
    TY_EXEC_FAMILY_COUNT,
    TY_EXEC_FAMILY_TERM, // TERM, and CONT so that a stopped process meets it
    TY_EXEC_FAMILY_KILL,
};

// Does it to every living descendant and reaps the dead among our own children, `keep` excepted: the step's own process,
// which is waited for elsewhere and not counted when it is dead. Returns how many were found. It is a snapshot: processes
// can be born behind it.
size_t ty_exec_family_act(enum ty_exec_family_act act, pid_t keep);
// Reaps dead children. True when there is no child left, and so no descendant at all: the kernel gives every orphan to us
// in the same moment.
bool ty_exec_family_is_gone(void);
// "123 (python3)" of some descendant, for messages; "none" when there is none.
void ty_exec_family_name_one(char out[64]);
// Field 22 of /proc/<pid>/stat; 0 when it cannot be read.
uint64_t ty_exec_family_start_time(pid_t pid);

// The kernel's count of out-of-memory kills in our control group (v2 and v1); 0 when it cannot be read.
uint64_t ty_exec_oom_kills(void);

// ---- the run ----

// Runs the plan to its end. Blocks SIGTERM, SIGINT and SIGCHLD for good.
void ty_exec_supervise(const struct ty_exec_plan *plan, struct ty_exec_control *control,
                       struct ty_exec_output *output, struct ty_exec_outcome *outcome);
