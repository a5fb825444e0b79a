// The watch over the consumer: a partition that nothing comes from although Kafka has more, and a thread that hangs. Both are real:
// librdkafka is told behind the intake's back to pause a partition, which it then never fetches, and the thread is stopped in a
// signal's handler.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/apart.h"
#include "tests/integration/intake_cases.h"
#include "tests/integration/intake_mock.h"
#include "worker/intake/consumer.h"

#define STALL_MS 1000
#define QUIET_MS (4 * STALL_MS)

static struct intake_rig *new_rig(void)
{
    struct intake_rig *rig = intake_rig_new(intake_broker.address, intake_broker.make_topics, intake_broker.broker, 2);
    rig->stall_ms = STALL_MS;
    return rig;
}

static struct ty_intake_figures figures(const struct intake_rig *rig)
{
    return intake_node_figures(rig, 0);
}

// A job in each partition of submits, and one cancel and delete: each partition has records, or none.
static void start(struct intake_rig *rig)
{
    struct ty_id ids[2] = {ty_id_new(), ty_id_new()};
    for (int32_t i = 0; i < 2; i++)
        intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &ids[i], i);
    intake_send(rig, TY_COMMAND_CANCEL, &ids[0], 1);
    intake_flush(rig);
    intake_node_start(rig, 0);
    intake_await(rig, &ids[0], TY_JOB_CANCELED);
    intake_await(rig, &ids[1], TY_JOB_PENDING);
}

static void test_what_stands_still_is_started_again(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig();
    struct ty_id still = ty_id_new(), beside = ty_id_new(), canceled = ty_id_new();
    start(rig);
    uint64_t tombstones = figures(rig).tombstones;
    intake_pause_behind(rig, "submit", 0);
    intake_pause_behind(rig, "cancel", 0);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &still, 0);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &beside, 1);
    intake_flush(rig);
    intake_await(rig, &beside, TY_JOB_PENDING);
    assert_false(intake_look(rig, &still).found);
    RIG_UNTIL(rig, rig->nodes[0].is_ill);
    intake_await(rig, &still, TY_JOB_PENDING);
    // The other way too, on which nothing was found amiss before: it had no more.
    assert_int_equal(figures(rig).stalls, 1);
    intake_send(rig, TY_COMMAND_CANCEL, &canceled, 0);
    intake_flush(rig);
    RIG_UNTIL(rig, figures(rig).tombstones == tombstones + 1);
    assert_int_equal(figures(rig).reopened, 0);
    RIG_UNTIL(rig, !rig->nodes[0].is_ill);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

// Every start is undone, until there is another consumer. A start has to ask the broker, which is slow meanwhile: what it begins is
// undone before anything comes of it, also where this thread gets to run a little late.
static void stall_until_reopened(struct intake_rig *rig, uint64_t times)
{
    rd_kafka_mock_broker_set_rtt(intake_mock.cluster, 1, 200);
    for (uint64_t until_ms = ty_clock_mono_ms() + 60000; figures(rig).reopened < times;) {
        intake_pause_behind(rig, "cancel", 1);
        intake_rig_turn_for(rig, 20);
        assert_true(ty_clock_mono_ms() < until_ms);
    }
    rd_kafka_mock_broker_set_rtt(intake_mock.cluster, 1, 0);
}

static void test_a_new_consumer_takes_over(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig();
    struct ty_id canceled = ty_id_new();
    start(rig);
    uint64_t tombstones = figures(rig).tombstones;
    intake_pause_behind(rig, "cancel", 1);
    intake_send(rig, TY_COMMAND_CANCEL, &canceled, 1);
    intake_flush(rig);
    stall_until_reopened(rig, 1);
    assert_int_equal(figures(rig).tombstones, tombstones);
    RIG_UNTIL(rig, figures(rig).tombstones == tombstones + 1);
    assert_int_equal(figures(rig).stalls, 2);
    RIG_UNTIL(rig, !rig->nodes[0].is_ill);
    // Stopped in the middle of the next time.
    intake_pause_behind(rig, "cancel", 1);
    intake_send(rig, TY_COMMAND_CANCEL, &canceled, 1);
    intake_flush(rig);
    stall_until_reopened(rig, 2);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

// Nothing comes because there is nothing, because a partition is held, because Kafka is away: all is well, or not the watch's to say.
static void test_what_is_quiet_does_not_stand_still(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig();
    start(rig);
    intake_rig_turn_for(rig, QUIET_MS);
    assert_false(rig->nodes[0].is_ill);
    ty_intake_hold_submits(rig->nodes[0].intake, true);
    struct ty_id later = ty_id_new(), last = ty_id_new();
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &later, 0);
    intake_flush(rig);
    intake_rig_turn_for(rig, QUIET_MS);
    ty_intake_hold_submits(rig->nodes[0].intake, false);
    intake_await(rig, &later, TY_JOB_PENDING);
    rd_kafka_mock_broker_set_down(intake_mock.cluster, 1);
    intake_rig_turn_for(rig, QUIET_MS);
    rd_kafka_mock_broker_set_up(intake_mock.cluster, 1);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &last, 0);
    intake_flush(rig);
    intake_await(rig, &last, TY_JOB_PENDING);
    assert_int_equal(figures(rig).stalls, 0);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

// ---- the thread ----

static int release[2];

static void on_signal(int number)
{
    char byte;
    (void)number;
    while (read(release[0], &byte, 1) != 1)
        ;
}

static pid_t consumer_thread(void)
{
    pid_t found = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (const struct dirent *task; tasks && (task = readdir(tasks));) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "re");
        if (file && fgets(name, sizeof name, file) && !strcmp(name, TY_CONSUMER_THREAD "\n"))
            found = (pid_t)atoi(task->d_name);
        if (file)
            fclose(file);
    }
    closedir(tasks);
    return found;
}

static void test_a_thread_that_hangs_is_told_of(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig();
    struct ty_id later = ty_id_new();
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, old;
    start(rig);
    assert_int_equal(pipe(release), 0);
    assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
    pid_t thread = consumer_thread();
    assert_true(thread > 0);
    assert_int_equal(tgkill(getpid(), thread, SIGUSR1), 0);
    RIG_UNTIL(rig, rig->nodes[0].is_ill);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &later, 0);
    intake_flush(rig);
    assert_int_equal(write(release[1], "", 1), 1);
    RIG_UNTIL(rig, !rig->nodes[0].is_ill);
    intake_await(rig, &later, TY_JOB_PENDING);
    assert_int_equal(figures(rig).stalls, 0);
    intake_node_stop(rig, 0);
    sigaction(SIGUSR1, &old, NULL);
    close(release[0]);
    close(release[1]);
    intake_rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_stands_still_is_started_again),
        cmocka_unit_test(test_a_new_consumer_takes_over),
        cmocka_unit_test(test_what_is_quiet_does_not_stand_still),
        cmocka_unit_test(test_a_thread_that_hangs_is_told_of),
    };
    return apart_run("intake that stands still, mock cluster", tests, intake_mock_set_up, intake_mock_tear_down);
}
