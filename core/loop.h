// One epoll loop a program: file descriptors, timers, signals, children (pidfd), and a mailbox through which other
// threads wake it. Everything but ty_loop_post runs on the loop's thread; callbacks must not block.
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/err.h"

struct ty_loop;

#define TY_LOOP_READ 1u
#define TY_LOOP_WRITE 2u
#define TY_LOOP_HANGUP 4u // only reported
#define TY_LOOP_PEER_CLOSED 8u // a socket whose peer writes no more; whoever gets it removes the source or asks no more for it

typedef void (*ty_loop_fd_fn)(void *context, int fd, unsigned events);
typedef void (*ty_loop_timer_fn)(void *context);
typedef void (*ty_loop_signal_fn)(void *context, int signal_number);
// As from waitid: code is CLD_EXITED, CLD_KILLED or CLD_DUMPED; value the exit code or signal. code 0: another part of the
// program has reaped the child, how it ended is not known.
typedef void (*ty_loop_child_fn)(void *context, pid_t pid, int code, int value);
typedef void (*ty_loop_post_fn)(void *context);

// A timer belongs to its owner, who keeps it in place while it is armed. Zero it before the first use.
struct ty_timer {
    uint64_t due_ms; // mono
    ty_loop_timer_fn fn;
    void *context;
    size_t index; // place in the heap + 1; 0 = not armed
};

struct ty_loop *ty_loop_new(struct ty_err *err);
void ty_loop_free(struct ty_loop *loop);
// Runs until ty_loop_stop (at once, when that was called before), then calls the flush hooks a last time. Returns 0, or a
// negative code when epoll itself fails.
int ty_loop_run(struct ty_loop *loop, struct ty_err *err) TY_MUST_USE;
// Calls the flush hooks, handles what is ready within timeout_ms (-1 for no limit), then returns.
int ty_loop_run_once(struct ty_loop *loop, int timeout_ms, struct ty_err *err) TY_MUST_USE;
void ty_loop_stop(struct ty_loop *loop);
// The mono time taken at the start of this turn.
uint64_t ty_loop_now_ms(const struct ty_loop *loop);

// One source a descriptor; the descriptor stays the caller's. events: TY_LOOP_READ | TY_LOOP_WRITE |
// TY_LOOP_PEER_CLOSED, level-triggered.
// TY_LOOP_HANGUP is reported whatever is asked for, again and again: whoever gets it removes the source or reads to the end.
int ty_loop_add_fd(struct ty_loop *loop, int fd, unsigned events, ty_loop_fd_fn fn, void *context,
                   struct ty_err *err) TY_MUST_USE;
void ty_loop_change_fd(struct ty_loop *loop, int fd, unsigned events);
// Safe inside any callback, also for a descriptor with a pending event in this turn.
void ty_loop_remove_fd(struct ty_loop *loop, int fd);

// Arms (or re-arms) for delay_ms from now.
void ty_loop_set_timer(struct ty_loop *loop, struct ty_timer *timer, uint64_t delay_ms,
                       ty_loop_timer_fn fn, void *context);
void ty_loop_clear_timer(struct ty_loop *loop, struct ty_timer *timer);

// Blocks the signal in this thread (call before threads start) and delivers it through signalfd. Children inherit the mask:
// whoever spawns one sets it back.
int ty_loop_add_signal(struct ty_loop *loop, int signal_number, ty_loop_signal_fn fn, void *context,
                       struct ty_err *err) TY_MUST_USE;
// Watches a child of this process and reaps it, once.
int ty_loop_add_child(struct ty_loop *loop, pid_t pid, ty_loop_child_fn fn, void *context,
                      struct ty_err *err) TY_MUST_USE;
// Stops watching: fn does not come any more, and nobody reaps the child. Nothing happens when it is not watched.
void ty_loop_remove_child(struct ty_loop *loop, pid_t pid);

// Called at the end of every turn, after all callbacks and before sleeping: the place to flush what the turn gathered.
// At most 8 of them, each called twice, so that one may hand its work to another. None may rely on being called only when
// there is something to do.
void ty_loop_add_flush(struct ty_loop *loop, ty_loop_post_fn fn, void *context);
void ty_loop_remove_flush(struct ty_loop *loop, ty_loop_post_fn fn, void *context);

// From any thread: runs fn on the loop's thread. FIFO; wakes the loop once for many posts.
void ty_loop_post(struct ty_loop *loop, ty_loop_post_fn fn, void *context);
