// core/loop: descriptors, timers, signals, children, posts and flush hooks, and what callbacks may do to each other.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/loop.h"

#define WAIT_MS 20000

static struct ty_loop *loop;

static int new_loop(void **state)
{
    struct ty_err err;
    (void)state;
    loop = ty_loop_new(&err);
    return loop ? 0 : -1;
}

static int free_loop(void **state)
{
    (void)state;
    ty_loop_free(loop);
    return 0;
}

static void turn(int timeout_ms)
{
    struct ty_err err;
    assert_int_equal(ty_loop_run_once(loop, timeout_ms, &err), 0);
}

// Turns until the condition holds; in vain is a failure.
#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        uint64_t until_ = ty_clock_mono_ms() + WAIT_MS;                                            \
        while (!(condition)) {                                                                     \
            if (ty_clock_mono_ms() >= until_)                                                      \
                fail_msg("waited in vain for %s", #condition);                                     \
            turn(WAIT_MS);                                                                         \
        }                                                                                          \
    } while (0)

// ---- timers ----

#define TIMERS 500
static struct ty_timer timers[TIMERS];
static uint64_t last_due_ms;
static unsigned fired;

static void on_timer(void *context)
{
    const struct ty_timer *timer = context;
    assert_int_equal(timer->index, 0);
    assert_true(timer->due_ms >= last_due_ms);
    assert_true(ty_loop_now_ms(loop) >= timer->due_ms);
    last_due_ms = timer->due_ms;
    fired++;
}

static void timers_fire_in_order(void **state)
{
    (void)state;
    unsigned seed = 7, armed = 0;
    memset(timers, 0, sizeof timers);
    fired = 0;
    last_due_ms = 0;
    for (int round = 0; round < 3 * TIMERS; round++) {
        struct ty_timer *timer = &timers[(size_t)rand_r(&seed) % TIMERS];
        if (rand_r(&seed) % 3)
            ty_loop_set_timer(loop, timer, (uint64_t)rand_r(&seed) % 50, on_timer, timer);
        else
            ty_loop_clear_timer(loop, timer);
    }
    for (size_t i = 0; i < TIMERS; i++)
        armed += timers[i].index != 0;
    assert_true(armed > 100 && armed < TIMERS);
    RUN_UNTIL(fired >= armed);
    turn(0);
    assert_int_equal(fired, armed);
}

static unsigned again;

static void on_again(void *context)
{
    again++;
    ty_loop_set_timer(loop, context, 0, on_again, context);
}

static void on_clear_other(void *context)
{
    fired++;
    ty_loop_clear_timer(loop, context);
}

static void timers_change_timers(void **state)
{
    (void)state;
    struct ty_timer forever = {0}, killer = {0}, victim = {0};
    again = fired = 0;
    ty_loop_set_timer(loop, &forever, 0, on_again, &forever);
    turn(0);
    turn(0);
    assert_true(again >= 1 && again <= 2); // once a turn: the descriptors get theirs in between
    ty_loop_clear_timer(loop, &forever);
    ty_loop_set_timer(loop, &victim, 1, on_timer, &victim);
    ty_loop_set_timer(loop, &killer, 0, on_clear_other, &victim);
    RUN_UNTIL(fired > 0);
    ty_loop_set_timer(loop, &killer, 5, on_clear_other, &victim);
    RUN_UNTIL(fired > 1);
    assert_int_equal(fired, 2);
    // A timer outlives the loop it was armed in.
    ty_loop_set_timer(loop, &victim, 1000000, on_timer, &victim);
    ty_loop_free(loop);
    loop = NULL;
    assert_int_equal(victim.index, 0);
}

// ---- descriptors ----

struct end {
    int fd;
    struct end *other; // removed, and its descriptor closed, when this one is called
    unsigned calls, events;
    char text[16];
};

static void on_end(void *context, int fd, unsigned events)
{
    struct end *end = context;
    assert_int_equal(fd, end->fd);
    end->calls++;
    end->events |= events;
    if (events & TY_LOOP_READ) {
        ssize_t got = read(fd, end->text, sizeof end->text - 1);
        end->text[got > 0 ? got : 0] = 0;
    }
    if (end->other) {
        ty_loop_remove_fd(loop, end->other->fd);
        close(end->other->fd);
    }
}

static void make_pair(int ends[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
}

static void add(struct end *end, unsigned events)
{
    struct ty_err err;
    if (ty_loop_add_fd(loop, end->fd, events, on_end, end, &err) < 0)
        fail_msg("%s", err.message);
}

static void descriptors(void **state)
{
    (void)state;
    int ends[2];
    make_pair(ends);
    struct end end = {.fd = ends[0]};
    add(&end, TY_LOOP_READ);
    turn(0);
    assert_int_equal(end.calls, 0);
    assert_int_equal(write(ends[1], "one", 3), 3);
    RUN_UNTIL(end.calls == 1);
    assert_string_equal(end.text, "one");
    assert_int_equal(end.events, TY_LOOP_READ);
    ty_loop_change_fd(loop, ends[0], TY_LOOP_READ | TY_LOOP_WRITE);
    end.events = 0;
    turn(WAIT_MS);
    assert_int_equal(end.events, TY_LOOP_WRITE);
    ty_loop_change_fd(loop, ends[0], 0);
    assert_int_equal(write(ends[1], "two", 3), 3);
    end.calls = 0;
    turn(0);
    assert_int_equal(end.calls, 0);
    ty_loop_change_fd(loop, ends[0], TY_LOOP_READ);
    turn(WAIT_MS);
    assert_string_equal(end.text, "two");
    end.events = 0;
    close(ends[1]);
    turn(WAIT_MS);
    assert_true(end.events & TY_LOOP_HANGUP);
    ty_loop_remove_fd(loop, ends[0]);
    ty_loop_remove_fd(loop, ends[0]); // not there: nothing happens
    ty_loop_remove_fd(loop, -1);
    ty_loop_change_fd(loop, 12345, TY_LOOP_READ);
    close(ends[0]);
    struct ty_err err;
    assert_int_equal(ty_loop_add_fd(loop, ends[0], TY_LOOP_READ, on_end, &end, &err), -TY_ESYSTEM);
    assert_non_null(strstr(err.message, "Bad file descriptor"));
}

static void removed_with_an_event_pending(void **state)
{
    (void)state;
    int first[2], second[2];
    make_pair(first);
    make_pair(second);
    struct end a = {.fd = first[0]}, b = {.fd = second[0], .other = &a};
    a.other = &b;
    add(&a, TY_LOOP_READ);
    add(&b, TY_LOOP_READ);
    assert_int_equal(write(first[1], "x", 1), 1);
    assert_int_equal(write(second[1], "x", 1), 1);
    turn(WAIT_MS); // both are ready; whoever comes first removes the other
    assert_int_equal(a.calls + b.calls, 1);
    close(first[1]);
    close(second[1]);
    close(a.calls ? a.fd : b.fd);
}

static struct end reborn;

static void on_replace(void *context, int fd, unsigned events)
{
    struct end *old = context;
    int fresh[2];
    (void)events;
    old->calls++;
    ty_loop_remove_fd(loop, fd);
    close(fd);
    make_pair(fresh);
    assert_int_equal(fresh[0], fd); // the same number, another descriptor
    reborn = (struct end){.fd = fresh[0]};
    add(&reborn, TY_LOOP_READ);
    assert_int_equal(write(fresh[1], "new", 3), 3);
    old->fd = fresh[1];
}

static void a_number_used_again(void **state)
{
    (void)state;
    int ends[2];
    struct ty_err err;
    make_pair(ends);
    struct end old = {.fd = ends[0]};
    assert_int_equal(ty_loop_add_fd(loop, ends[0], TY_LOOP_READ, on_replace, &old, &err), 0);
    assert_int_equal(write(ends[1], "old", 3), 3);
    RUN_UNTIL(reborn.calls == 1);
    assert_int_equal(old.calls, 1);
    assert_string_equal(reborn.text, "new");
    ty_loop_remove_fd(loop, reborn.fd);
    close(reborn.fd);
    close(old.fd);
    close(ends[1]);
}

// ---- signals and children ----

static int last_signal;
static unsigned signals_seen;

static void on_signal(void *context, int signal_number)
{
    (void)context;
    last_signal = signal_number;
    signals_seen++;
}

static void signals(void **state)
{
    (void)state;
    struct ty_err err;
    sigset_t before;
    sigprocmask(SIG_BLOCK, NULL, &before);
    assert_int_equal(ty_loop_add_signal(loop, SIGUSR1, on_signal, NULL, &err), 0);
    assert_int_equal(ty_loop_add_signal(loop, SIGTERM, on_signal, NULL, &err), 0);
    kill(getpid(), SIGTERM);
    RUN_UNTIL(signals_seen == 1);
    assert_int_equal(last_signal, SIGTERM);
    kill(getpid(), SIGUSR1);
    RUN_UNTIL(signals_seen == 2);
    assert_int_equal(last_signal, SIGUSR1);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

struct ended {
    pid_t pid;
    int code, value;
    unsigned calls;
};

static void on_child(void *context, pid_t pid, int code, int value)
{
    *(struct ended *)context = (struct ended){pid, code, value, ((struct ended *)context)->calls + 1};
}

static pid_t spawn(const char *script)
{
    pid_t pid;
    char *argv[] = {"sh", "-c", (char *)script, NULL}, *envp[] = {NULL};
    assert_int_equal(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, envp), 0);
    return pid;
}

static void children(void **state)
{
    (void)state;
    struct ended first = {0}, second = {0}, third = {0};
    struct ty_err err;
    pid_t exits = spawn("exit 7"), killed = spawn("kill -9 $$"), reaped = spawn("exit 1");
    assert_int_equal(ty_loop_add_child(loop, exits, on_child, &first, &err), 0);
    assert_int_equal(ty_loop_add_child(loop, killed, on_child, &second, &err), 0);
    assert_int_equal(ty_loop_add_child(loop, reaped, on_child, &third, &err), 0);
    assert_int_equal(waitpid(reaped, NULL, 0), reaped); // taken away from the loop
    RUN_UNTIL(first.calls && second.calls && third.calls);
    turn(0);
    assert_int_equal(first.calls + second.calls + third.calls, 3);
    assert_int_equal(first.pid, exits);
    assert_int_equal(first.code, CLD_EXITED);
    assert_int_equal(first.value, 7);
    assert_int_equal(second.code, CLD_KILLED);
    assert_int_equal(second.value, SIGKILL);
    assert_int_equal(third.code, 0);
    assert_int_equal(waitpid(exits, NULL, WNOHANG), -1); // reaped
    assert_int_equal(errno, ECHILD);
    assert_int_equal(ty_loop_add_child(loop, exits, on_child, &first, &err), -TY_ESYSTEM);
}

static void a_forgotten_child_is_not_reported(void **state)
{
    (void)state;
    struct ended forgotten = {0}, other = {0};
    struct ty_err err;
    pid_t first = spawn("exit 3"), second = spawn("exit 4");
    assert_int_equal(ty_loop_add_child(loop, first, on_child, &forgotten, &err), 0);
    assert_int_equal(ty_loop_add_child(loop, second, on_child, &other, &err), 0);
    ty_loop_remove_child(loop, first);
    ty_loop_remove_child(loop, first); // nothing happens
    RUN_UNTIL(other.calls);
    assert_int_equal(waitpid(first, NULL, 0), first); // nobody has reaped it
    turn(0);
    assert_int_equal(forgotten.calls, 0);
    assert_int_equal(other.value, 4);
}

// ---- posts ----

#define THREADS 4
#define POSTS 5000

static unsigned posts_seen, next_of[THREADS];

struct post {
    unsigned thread, number;
};

static void on_post(void *context)
{
    struct post *post = context;
    assert_int_equal(post->number, next_of[post->thread]);
    next_of[post->thread]++;
    posts_seen++;
    free(post);
}

static void *post_many(void *context)
{
    for (unsigned i = 0; i < POSTS; i++) {
        struct post *post = ty_xmalloc(sizeof *post);
        *post = (struct post){(unsigned)(uintptr_t)context, i};
        ty_loop_post(loop, on_post, post);
    }
    return NULL;
}

static void posts_come_in_order(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, (void *)i), 0);
    RUN_UNTIL(posts_seen == THREADS * POSTS);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    turn(0);
    assert_int_equal(posts_seen, THREADS * POSTS);
}

static void on_stop(void *context)
{
    (*(unsigned *)context)++;
    ty_loop_stop(loop);
}

static void *post_stop(void *context)
{
    ty_loop_post(loop, on_stop, context);
    return NULL;
}

static void on_flush(void *context)
{
    (*(unsigned *)context)++;
}

static void run_and_stop(void **state)
{
    (void)state;
    pthread_t thread;
    struct ty_err err;
    unsigned stops = 0, flushes = 0;
    ty_loop_add_flush(loop, on_flush, &flushes);
    assert_int_equal(pthread_create(&thread, NULL, post_stop, &stops), 0);
    assert_int_equal(ty_loop_run(loop, &err), 0);
    pthread_join(thread, NULL);
    assert_int_equal(stops, 1);
    unsigned before = flushes;
    assert_true(before > 0);
    ty_loop_stop(loop); // before it runs
    assert_int_equal(ty_loop_run(loop, &err), 0);
    assert_true(flushes > before); // what the last turn gathered leaves, too
    ty_loop_remove_flush(loop, on_flush, &flushes);
    before = flushes;
    turn(0);
    assert_int_equal(flushes, before);
}

// A hook whose turn has passed gets what a later one hands to it before the loop sleeps.
static unsigned handed, delivered;

static void on_deliver(void *context)
{
    (void)context;
    delivered += handed;
    handed = 0;
}

static void on_hand(void *context)
{
    unsigned *work = context;
    handed += *work;
    *work = 0;
}

static void flush_hooks_hand_over(void **state)
{
    (void)state;
    unsigned work = 3;
    ty_loop_add_flush(loop, on_deliver, NULL);
    ty_loop_add_flush(loop, on_hand, &work);
    turn(0);
    assert_int_equal(delivered, 3);
}

int main(void)
{
#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, new_loop, free_loop)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(timers_fire_in_order), LOOP_TEST(timers_change_timers),
        LOOP_TEST(descriptors),          LOOP_TEST(removed_with_an_event_pending),
        LOOP_TEST(a_number_used_again),  LOOP_TEST(signals),
        LOOP_TEST(children), LOOP_TEST(a_forgotten_child_is_not_reported),             LOOP_TEST(posts_come_in_order),
        LOOP_TEST(run_and_stop),         LOOP_TEST(flush_hooks_hand_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
