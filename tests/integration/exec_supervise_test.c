// trainyard-exec with real children: every outcome of protocol.h, processes that do not want to go, leases, and the spool.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "tests/integration/exec_run.h"

#define SH(script) "arg=/bin/sh", "arg=-c", "arg=" script
#define ENTRIES(...) ((const char *const[]){"env=PATH=/usr/bin:/bin", "grace_ms=15000", __VA_ARGS__, NULL})
#define TRAIN(...) ENTRIES("step=train", __VA_ARGS__)
// Says that it runs and stays until it is told to go.
#define STAY "echo ready; exec sleep 1000"

static long value_of(struct exec_run *run, const char *key)
{
    const char *text = exec_run_value(run, key);
    assert_non_null(text);
    return strtol(text, NULL, 10);
}

static void await_ready(struct exec_run *run)
{
    exec_run_await_file(run, "spool", "ready");
}

static void end_with(struct exec_run *run, const char *outcome)
{
    assert_int_equal(exec_run_wait(run), 0);
    exec_run_read(run);
    assert_string_equal(exec_run_value(run, "outcome"), outcome);
    assert_true(run->ended && !run->torn);
}

// ---- outcomes ----

static void children_that_end_by_themselves(void **state)
{
    static const struct {
        const char *script, *outcome;
        int code, signal;
    } cases[] = {
        {"arg=exit 0", "ok", 0, 0},          {"arg=exit 3", "exit", 3, 0},           {"arg=exit 255", "exit", 255, 0},
        {"arg=kill -SEGV $$", "signal", -1, SIGSEGV}, {"arg=kill -KILL $$", "signal", -1, SIGKILL},
        {"arg=kill -TERM $$", "signal", -1, SIGTERM},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct exec_run run;
        exec_run_all(&run, TRAIN("arg=/bin/sh", "arg=-c", cases[i].script), cases[i].outcome);
        assert_int_equal(value_of(&run, "code"), cases[i].code);
        assert_int_equal(value_of(&run, "signal"), cases[i].signal);
        assert_int_equal(value_of(&run, "oom"), 0);
        assert_string_equal(exec_run_value(&run, "step"), "train");
        assert_true(strtoull(exec_run_value(&run, "started_us"), NULL, 10) > 1700000000000000u);
        assert_true(strtoull(exec_run_value(&run, "ended_us"), NULL, 10) > 1700000000000000u);
        exec_run_done(&run);
    }
}

static void make_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0);
    close(fd);
}

static void programs_that_cannot_be_started(void **state)
{
    char dir[] = "/tmp/ty-programs-XXXXXX", plain[64], lost[64], arg[96];
    struct exec_run run;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(plain, sizeof plain, "%s/plain", dir);
    snprintf(lost, sizeof lost, "%s/lost", dir);
    make_file(plain, "#!/bin/sh\n", 0644);
    make_file(lost, "#!/no/such/interpreter\n", 0755);
    exec_run_all(&run, TRAIN("arg=/no/such/program"), "not_found");
    assert_non_null(strstr(exec_run_value(&run, "message"), "/no/such/program"));
    exec_run_done(&run);
    snprintf(arg, sizeof arg, "arg=%s", lost);
    exec_run_all(&run, TRAIN(arg), "not_found");
    assert_non_null(strstr(exec_run_value(&run, "message"), "interpreter is missing"));
    exec_run_done(&run);
    snprintf(arg, sizeof arg, "arg=%s", plain);
    exec_run_all(&run, TRAIN(arg), "not_executable");
    exec_run_done(&run);
    exec_run_all(&run, ENTRIES("cwd=/no/such/dir", "step=train", "arg=/bin/true"), "internal");
    assert_non_null(strstr(exec_run_value(&run, "message"), "/no/such/dir"));
    exec_run_done(&run);
    unlink(plain);
    unlink(lost);
    rmdir(dir);
}

static void requests_to_stop(void **state)
{
    static const struct {
        enum ty_exec_stop stop;
        const char *outcome;
    } cases[] = {{TY_EXEC_STOP_CANCEL, "canceled"}, {TY_EXEC_STOP_LOST, "lost"}, {TY_EXEC_STOP_DRAIN, "drained"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct exec_run run;
        exec_run_init(&run, TRAIN(SH(STAY)));
        exec_run_start(&run);
        await_ready(&run);
        exec_run_stop(&run, cases[i].stop);
        end_with(&run, cases[i].outcome);
        assert_int_equal(value_of(&run, "signal"), SIGTERM); // nobody had to be killed
        exec_run_done(&run);
    }
}

static void a_request_is_seen_without_its_signal(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_init(&run, TRAIN(SH(STAY)));
    exec_run_start(&run);
    await_ready(&run);
    atomic_store(&run.control->stop, TY_EXEC_STOP_CANCEL);
    end_with(&run, "canceled");
    exec_run_done(&run);
}

static void a_request_before_the_start_starts_nothing(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_init(&run, TRAIN(SH("echo ran")));
    atomic_store(&run.control->stop, TY_EXEC_STOP_CANCEL);
    exec_run_start(&run);
    end_with(&run, "canceled");
    assert_string_equal(exec_run_text(&run, TY_EXEC_STREAM_STDOUT), "");
    exec_run_done(&run);
}

static void lost_takes_over_from_another_request(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_init(&run, TRAIN(SH("trap 'echo asked; sleep 1000' TERM; echo ready; while :; do sleep 1000 & wait; done")));
    exec_run_start(&run);
    await_ready(&run);
    exec_run_stop(&run, TY_EXEC_STOP_CANCEL);
    exec_run_await_file(&run, "spool", "asked");
    exec_run_stop(&run, TY_EXEC_STOP_LOST);
    end_with(&run, "lost");
    exec_run_done(&run);
}

static void a_signal_without_a_request_is_ignored(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_init(&run, TRAIN(SH(STAY)));
    exec_run_start(&run);
    await_ready(&run);
    kill(run.pid, SIGTERM);
    exec_run_await_file(&run, "spool", "without a request");
    kill(run.pid, SIGHUP);
    exec_run_stop(&run, TY_EXEC_STOP_CANCEL);
    end_with(&run, "canceled");
    exec_run_done(&run);
}

static void limits_of_time(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_all(&run, ENTRIES("max_runtime_ms=100", "step=train", SH(STAY)), "deadline");
    assert_non_null(strstr(exec_run_value(&run, "message"), "0.100 s"));
    exec_run_done(&run);
    exec_run_all(&run, ENTRIES("step=install", SH(STAY), "timeout_ms=100", "step=train", "arg=/bin/true"), "step_timeout");
    assert_string_equal(exec_run_value(&run, "step"), "install");
    assert_int_equal(value_of(&run, "started_us"), 0);
    exec_run_done(&run);
    // The run time counts the step train only, which is looked at while it runs.
    exec_run_all(&run, ENTRIES("max_runtime_ms=3000", "step=prepare", SH("sleep 3.2"), "step=train", SH("sleep 0.4")), "ok");
    exec_run_done(&run);
}

static void plans_that_are_refused(void **state)
{
    static const char *const cases[][4] = {
        {"boot_id=not-this-boot", "step=train", "arg=/bin/true"}, {"step=train", NULL},
        {"step=train", "arg=relative/program"},                  {"grace_ms=soon", "step=train", "arg=/bin/true"},
        {"env=", "step=train", "arg=/bin/true"},                 {"nonsense", "step=train", "arg=/bin/true"},
    };
    struct exec_run run;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        exec_run_all(&run, cases[i], "internal");
        assert_non_null(strstr(exec_run_value(&run, "message"), "plan: "));
        exec_run_done(&run);
    }
    exec_run_all(&run, NULL, "internal");
    exec_run_done(&run);
    exec_run_all(&run, ENTRIES("key_of_a_newer_worker=1", "step=train", "arg=/bin/true"), "ok");
    exec_run_done(&run);
}

// ---- families ----

static bool is_alive(long pid)
{
    return kill((pid_t)pid, 0) == 0;
}

static void term_is_not_the_last_word(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_init(&run, (const char *const[]){"env=PATH=/usr/bin:/bin", "grace_ms=200", "step=train",
                                              SH("trap '' TERM; sleep 1000 & echo ready $!; while :; do wait; done"), NULL});
    exec_run_start(&run);
    await_ready(&run);
    exec_run_stop(&run, TY_EXEC_STOP_CANCEL);
    end_with(&run, "canceled");
    assert_int_equal(value_of(&run, "signal"), SIGKILL);
    assert_false(is_alive(strtol(exec_run_text(&run, TY_EXEC_STREAM_STDOUT) + 6, NULL, 10)));
    exec_run_done(&run);
}

static void a_stopped_process_meets_its_term(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_init(&run, TRAIN(SH("echo ready; kill -STOP $$; sleep 1000")));
    exec_run_start(&run);
    await_ready(&run);
    exec_run_stop(&run, TY_EXEC_STOP_CANCEL);
    end_with(&run, "canceled");
    exec_run_done(&run);
}

static void daemons_do_not_outlive_their_step(void **state)
{
    // A daemon by the book: a double fork with a session of its own, and one that closed the pipes.
    static const char *const scripts[] = {
        "arg=(setsid sh -c 'sleep 1000 & echo $!') ; exit 0",
        "arg=setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!",
        // Its number is printed when it has let go of the pipe, and so is beyond the reach of the step's TERM.
        "arg=pid=$( (sh -c 'trap \"\" TERM HUP; echo $$; exec setsid sleep 1000 >/dev/null 2>&1' &) ); echo $pid",
    };
    (void)state;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        struct exec_run run;
        exec_run_all(&run, ENTRIES("step=prepare", "arg=/bin/sh", "arg=-c", scripts[i], "step=train", SH("echo next")), "ok");
        char *end;
        long pid = strtol(exec_run_text(&run, TY_EXEC_STREAM_STDOUT), &end, 10);
        assert_true(pid > 1);
        if (is_alive(pid))
            fail_msg("process %ld of case %zu outlived its step", pid, i);
        assert_string_equal(end, "\nnext\n");
        exec_run_done(&run);
    }
}

static void a_killed_supervisor_takes_its_step_along_and_frees_its_lock(void **state)
{
    struct exec_run run;
    char path[128];
    (void)state;
    exec_run_init(&run, TRAIN(SH("echo $$; echo ready; exec sleep 1000")));
    exec_run_start(&run);
    await_ready(&run);
    snprintf(path, sizeof path, "%s/control", run.dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
    kill(run.pid, SIGKILL);
    assert_int_equal(exec_run_wait(&run), -SIGKILL);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    close(fd);
    exec_run_read(&run);
    assert_false(run.ended);
    assert_null(exec_run_value(&run, "outcome"));
    long pid = strtol(exec_run_text(&run, TY_EXEC_STREAM_STDOUT), NULL, 10);
    uint64_t until = ty_clock_mono_ms() + 60000;
    char comm[64];
    snprintf(comm, sizeof comm, "/proc/%ld/comm", pid);
    while (access(comm, F_OK) == 0 && is_alive(pid)) {
        char stat_path[64], text[256] = "";
        snprintf(stat_path, sizeof stat_path, "/proc/%ld/stat", pid);
        FILE *file = fopen(stat_path, "re");
        if (file) {
            if (!fgets(text, sizeof text, file))
                *text = 0;
            fclose(file);
        }
        if (strstr(text, ") Z ")) // dead, but its new parent has not looked yet
            break;
        if (ty_clock_mono_ms() > until)
            fail_msg("the step lives on");
    }
    exec_run_done(&run);
}

static void a_directory_is_run_once(void **state)
{
    struct exec_run run, second;
    (void)state;
    exec_run_init(&run, TRAIN(SH(STAY)));
    exec_run_start(&run);
    await_ready(&run);
    second = run;
    exec_run_start(&second);
    assert_int_equal(exec_run_wait(&second), 2);
    exec_run_stop(&run, TY_EXEC_STOP_CANCEL);
    end_with(&run, "canceled");
    exec_run_start(&run);
    assert_int_equal(exec_run_wait(&run), 2);
    assert_string_equal(exec_run_value(&run, "outcome"), "canceled");
    exec_run_done(&run);
}

static void a_control_of_another_format_is_refused(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_init(&run, TRAIN("arg=/bin/true"));
    run.control->format = 2;
    exec_run_start(&run);
    assert_int_equal(exec_run_wait(&run), 2);
    exec_run_done(&run);
}

// ---- leases ----

static uint64_t boot_in_ms(int64_t ms)
{
    return ty_clock_boot_ns() + (uint64_t)(ms * 1000000);
}

static void the_lease_ends_a_job_though_its_worker_is_dead(void **state)
{
    static const char *const policies[][2] = {{"on_lost_lease=stop", "lost_lease_limit_ms=3600000"},
                                              {"on_lost_lease=continue", "lost_lease_limit_ms=100"}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct exec_run run;
        exec_run_init(&run, ENTRIES(policies[i][0], policies[i][1], "step=train", SH(STAY)));
        atomic_store(&run.control->deadline_ns, boot_in_ms(60000));
        exec_run_start(&run);
        await_ready(&run);
        atomic_store(&run.control->deadline_ns, boot_in_ms(300));
        end_with(&run, "lost");
        assert_non_null(strstr(exec_run_value(&run, "message"), "lease passed"));
        exec_run_done(&run);
    }
}

static void a_job_may_run_on_after_its_lease(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_init(&run, ENTRIES("on_lost_lease=continue", "lost_lease_limit_ms=3600000", "step=train", SH("sleep 0.6; echo done")));
    atomic_store(&run.control->deadline_ns, boot_in_ms(1));
    exec_run_start(&run);
    end_with(&run, "ok");
    assert_string_equal(exec_run_text(&run, TY_EXEC_STREAM_STDOUT), "done\n");
    exec_run_done(&run);
}

static void renewals_move_the_deadline(void **state)
{
    struct exec_run run;
    (void)state;
    // It prints for longer than the first deadline, which leaves time to start it on a busy machine.
    exec_run_init(&run, ENTRIES("on_lost_lease=stop", "step=train", SH("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done")));
    atomic_store(&run.control->deadline_ns, boot_in_ms(3500));
    exec_run_start(&run);
    for (int i = 1; i <= 8; i++) {
        char text[4];
        snprintf(text, sizeof text, "%d\n", i);
        exec_run_await_file(&run, "spool", text);
        atomic_store(&run.control->deadline_ns, boot_in_ms(20000));
    }
    end_with(&run, "ok");
    exec_run_done(&run);
}

// ---- surroundings and output ----

static void a_step_gets_what_the_plan_says_and_nothing_else(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_all(&run, (const char *const[]){"env=A=1", "env=B=two words", "cwd=/usr", "step=train", "arg=/usr/bin/env", NULL},
                 "ok");
    assert_string_equal(exec_run_text(&run, TY_EXEC_STREAM_STDOUT), "A=1\nB=two words\n");
    exec_run_done(&run);
    exec_run_all(&run, ENTRIES("cwd=/usr", "step=train", SH("pwd; cat; ls /proc/self/fd | tr '\\n' ' '; trap")), "ok");
    // 3 is the directory that ls reads.
    assert_string_equal(exec_run_text(&run, TY_EXEC_STREAM_STDOUT), "/usr\n0 1 2 3 ");
    exec_run_done(&run);
    exec_run_all(&run, ENTRIES("cwd=/usr", "step=prepare", SH("pwd"), "step=train", "cwd=/etc", SH("pwd"), "step=collect",
                               SH("pwd")),
                 "ok");
    assert_string_equal(exec_run_text(&run, TY_EXEC_STREAM_STDOUT), "/usr\n/etc\n/usr\n");
    exec_run_done(&run);
    // A directory that is missing is the step's trouble only.
    exec_run_all(&run, ENTRIES("step=prepare", SH("echo it says why; exit 1"), "step=train", "cwd=/no/such/dir", SH("pwd")),
                 "exit");
    exec_run_done(&run);
    exec_run_all(&run, TRAIN("arg=/usr/bin/printf", "arg=[%s]", "arg=", "arg=a b", "arg=$HOME;`x`", "arg=c=d"), "ok");
    assert_string_equal(exec_run_text(&run, TY_EXEC_STREAM_STDOUT), "[][a b][$HOME;`x`][c=d]");
    exec_run_done(&run);
}

static void steps_run_in_order_until_one_fails(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_all(&run, ENTRIES("step=prepare", SH("echo p"), "step=install", SH("echo i"), "step=train", SH("echo t; exit 7"),
                               "step=collect", SH("echo c")),
                 "exit");
    assert_string_equal(exec_run_text(&run, TY_EXEC_STREAM_STDOUT), "p\ni\nt\n");
    assert_string_equal(exec_run_value(&run, "step"), "train");
    assert_int_equal(value_of(&run, "code"), 7);
    assert_int_equal(atomic_load(&run.control->step), 3);
    exec_run_done(&run);
}

static void output_is_kept_byte_by_byte(void **state)
{
    struct exec_run run;
    (void)state;
    exec_run_all(&run, TRAIN(SH("seq 1 400000 & printf 'a\\0b\\377' >&2; wait")), "ok");
    TY_BUF(wanted);
    for (int i = 1; i <= 400000; i++)
        ty_buf_add_format(&wanted, "%d\n", i);
    struct ty_buf *out = &run.streams[TY_EXEC_STREAM_STDOUT], *err = &run.streams[TY_EXEC_STREAM_STDERR];
    assert_int_equal(out->len, wanted.len);
    assert_memory_equal(out->data, wanted.data, wanted.len);
    assert_int_equal(err->len, 4);
    assert_memory_equal(err->data, "a\0b\377", 4);
    exec_run_done(&run);
}

static void a_full_disk_costs_output_and_nothing_else(void **state)
{
    struct exec_run run;
    (void)state;
    if (!exec_run_init_on_disk(&run, "512k", TRAIN(SH("seq 1 400000; echo last >&2; exit 5")))) {
        print_message("a tmpfs may not be mounted here\n");
        skip();
    }
    exec_run_start(&run);
    end_with(&run, "exit");
    assert_int_equal(value_of(&run, "code"), 5);
    assert_non_null(strstr(exec_run_text(&run, TY_EXEC_STREAM_SUPERVISOR), "no room on the disk"));
    const char *out = exec_run_text(&run, TY_EXEC_STREAM_STDOUT);
    assert_int_equal(strncmp(out, "1\n2\n3\n", 6), 0); // what came first is there
    exec_run_done(&run);
}

// Behind its limit an output has its last 256 KiB, after a line that counts what is missing; everything before is whole.
static void an_output_with_a_limit_keeps_its_head_and_its_tail(void **state)
{
    static const char script[] = "arg=i=0; while [ $i -lt 40000 ]; do echo \"line $i of forty thousand\"; i=$((i + 1)); done; "
                                 "echo last words >&2";
    struct exec_run run;
    unsigned long long missing = 0;
    TY_BUF(all);
    (void)state;
    for (int i = 0; i < 40000; i++)
        ty_buf_add_format(&all, "line %d of forty thousand\n", i);
    exec_run_all(&run, ENTRIES("spool_limit_bytes=100000", "step=train", "arg=/bin/sh", "arg=-c", script), "ok");
    const char *own = exec_run_text(&run, TY_EXEC_STREAM_SUPERVISOR), *out = exec_run_text(&run, TY_EXEC_STREAM_STDOUT);
    const char *over = strstr(own, "over the limit: ");
    assert_non_null(strstr(own, "the output has reached its limit of 100000 bytes: "));
    assert_non_null(over);
    assert_int_equal(sscanf(over, "over the limit: %llu bytes", &missing), 1);
    size_t len = strlen(out), head = 0;
    assert_true(missing > 0 && len + missing == all.len);
    assert_true(len > 250000 && len < 400000);
    while (head < len && out[head] == (char)all.data[head])
        head++;
    assert_true(head > 40000 && head < 100000);
    assert_memory_equal(out + head, all.data + all.len - (len - head), len - head);
    assert_string_equal(exec_run_text(&run, TY_EXEC_STREAM_STDERR), "last words\n");
    exec_run_done(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_that_end_by_themselves),
        cmocka_unit_test(programs_that_cannot_be_started),
        cmocka_unit_test(requests_to_stop),
        cmocka_unit_test(a_request_is_seen_without_its_signal),
        cmocka_unit_test(a_request_before_the_start_starts_nothing),
        cmocka_unit_test(lost_takes_over_from_another_request),
        cmocka_unit_test(a_signal_without_a_request_is_ignored),
        cmocka_unit_test(limits_of_time),
        cmocka_unit_test(plans_that_are_refused),
        cmocka_unit_test(term_is_not_the_last_word),
        cmocka_unit_test(a_stopped_process_meets_its_term),
        cmocka_unit_test(daemons_do_not_outlive_their_step),
        cmocka_unit_test(a_killed_supervisor_takes_its_step_along_and_frees_its_lock),
        cmocka_unit_test(a_directory_is_run_once),
        cmocka_unit_test(a_control_of_another_format_is_refused),
        cmocka_unit_test(the_lease_ends_a_job_though_its_worker_is_dead),
        cmocka_unit_test(a_job_may_run_on_after_its_lease),
        cmocka_unit_test(renewals_move_the_deadline),
        cmocka_unit_test(a_step_gets_what_the_plan_says_and_nothing_else),
        cmocka_unit_test(steps_run_in_order_until_one_fails),
        cmocka_unit_test(output_is_kept_byte_by_byte),
        cmocka_unit_test(a_full_disk_costs_output_and_nothing_else),
        cmocka_unit_test(an_output_with_a_limit_keeps_its_head_and_its_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
