// A job's log from its pipe to the store: a million numbered lines at full speed, all of them, in order and once, with the worker and
// the store killed meanwhile; and logs of jobs that are deleted while they write.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/integration/run_site.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log_entry.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define OUT "for a in \"$@\"; do case $a in --model_output_directory=*) out=${a#*=};; esac; done\n"
#define LINES 1000000
#define TEXT_BYTES 64

static struct site site;
static struct site_worker first, second;

static int setup(void **state)
{
    (void)state;
    site_open(&site, 1);
    first = SITE_WORKER("w1");
    second = SITE_WORKER("w2");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    site_kill(&first);
    site_kill(&second);
    site_close(&site);
    return 0;
}

// ---- how far a log is ----

struct asked {
    bool done;
    uint64_t next;
};

static void on_spans(void *context, const struct ty_err *err, const struct ty_log_span *spans, size_t count)
{
    struct asked *asked = context;
    asked->done = true;
    asked->next = !err && count ? spans[0].next : 0;
}

static uint64_t next_of(const struct ty_id *id)
{
    struct asked asked = {0};
    ty_state_log_spans(site.state, id, 1, on_spans, &asked);
    SITE_UNTIL(&site, asked.done);
    return asked.next;
}

// ---- reading it ----

struct reading {
    bool done, more, ended, failed;
    uint32_t attempt;
    uint64_t sequence;
    bool may_skip;
    int64_t lines, marks, count, first_gap; // the latest number, words that stand for lines, how many lines there are
    char last[TEXT_BYTES];
};

static void take(struct reading *reading, const struct ty_bytes *stored)
{
    struct ty_log_entry entry;
    ty_log_entry_read(stored->data, stored->len, &entry);
    Viam__App__Mltraining__V1__TrainingJobLogEntry *message =
        viam__app__mltraining__v1__training_job_log_entry__unpack(NULL, entry.len, entry.message);
    assert_non_null(message);
    if (entry.stream == TY_LOG_STREAM_STDOUT && *message->message >= '0' && *message->message <= '9') { // the steps before it print too
        int64_t number = strtoll(message->message, NULL, 10);
        if (number != reading->lines + 1 && !reading->may_skip)
            fail_msg("\"%s\" comes where %" PRId64 " should", message->message, reading->lines + 1);
        if (number != reading->lines + 1 && !reading->first_gap)
            reading->first_gap = number > reading->lines ? reading->lines : -1;
        reading->lines = number;
        reading->count++;
    }
    snprintf(reading->last, sizeof reading->last, "%s", message->message);
    viam__app__mltraining__v1__training_job_log_entry__free_unpacked(message, NULL);
}

static void on_page(void *context, const struct ty_err *err, const struct ty_log_page *page)
{
    struct reading *reading = context;
    reading->done = true;
    if (err)
        fail_msg("%s", err->message);
    for (size_t i = 0; i < page->run_count; i++)
        reading->marks += page->runs[i].missing != 0;
    for (size_t i = 0; i < page->count; i++)
        take(reading, &page->entries[i]);
    reading->more = page->more;
    reading->ended = page->ended;
    reading->attempt = page->next_attempt;
    reading->sequence = page->next_sequence;
}

static void read_on(struct reading *reading, const struct ty_id *id)
{
    while (reading->more) {
        reading->done = false;
        ty_state_log_page(site.state, id, reading->attempt, reading->sequence, 1000, 1 << 20, on_page, reading);
        SITE_UNTIL(&site, reading->done);
    }
}

static struct reading read_log(const struct ty_id *id)
{
    struct reading reading = {.more = true};
    read_on(&reading, id);
    return reading;
}

static void a_million_lines_arrive_once(void **state)
{
    (void)state;
    first.lease_ms = 30000; // no attempt is to be lost here, however long a start takes
    site_add_script(&site, "million", OUT "seq 1 1000000\necho m >\"$out/m\"\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "million"});
    SITE_UNTIL(&site, next_of(&id) > 50000);
    site_kill(&first);
    assert_true(next_of(&id) < LINES);
    site_start(&site, &first);
    SITE_UNTIL(&site, next_of(&id) > 200000);
    redis_server_kill(site.redis);
    SITE_UNTIL(&site, !site.up);
    redis_server_start(site.redis);
    SITE_UNTIL(&site, site.up);
    assert_true(next_of(&id) < LINES);
    SITE_UNTIL(&site, next_of(&id) > 400000);
    site_kill(&first);
    redis_server_kill(site.redis);
    SITE_UNTIL(&site, !site.up);
    redis_server_start(site.redis);
    SITE_UNTIL(&site, site.up);
    site_start(&site, &first);
    site_wait(&site, &id, TY_JOB_COMPLETED);
    struct reading reading = read_log(&id); // at once: the status says finished
    assert_int_equal(reading.lines, LINES);
    assert_int_equal(reading.marks, 0);
    assert_true(reading.ended);
    assert_int_equal(reading.attempt, 1);
    assert_string_equal(reading.last, "attempt 1 completed");
}

// The log's store loses its last second after the job has ended, and the job's does not: the worker has the spool yet, as it does as
// long as a publisher has not told Kafka.
static void a_log_that_loses_its_end_gets_it_back(void **state)
{
    char key[64], line[160], *at = key;
    (void)state;
    assert_string_equal(redis_server_ask(site.redis, "HSET {ty:0}:m read 1"), ":1\r\n");
    site_add_script(&site, "short", OUT "seq 1 3000\necho m >\"$out/m\"\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "short"});
    site_wait(&site, &id, TY_JOB_COMPLETED);
    uint64_t end = next_of(&id);
    for (size_t i = 0; i < sizeof id.bytes; i++)
        at += sprintf(at, "%02x", id.bytes[i]);
    snprintf(line, sizeof line, "DEL {%s}:l:1 {%s}:l:1:c", key, key);
    redis_server_ask(site.redis, line);
    snprintf(line, sizeof line, "HSET {%s}:l b1 0 u 0 z 0 y 0 h 0", key);
    redis_server_ask(site.redis, line);
    assert_int_equal(next_of(&id), 0);
    redis_server_ask(site.redis, "DEL {ty:0}:o"); // Kafka has it
    site_wait_word(&site, &first, "attempt.tell_again");
    SITE_UNTIL(&site, next_of(&id) == end);
    struct reading reading = read_log(&id);
    assert_int_equal(reading.lines, 3000);
    assert_true(reading.ended);
    char text[TY_ID_TEXT_BYTES];
    const char *dir = site_path(&site, "work/w1/jobs/%s-1", ty_id_format(&id, text));
    SITE_UNTIL(&site, access(dir, F_OK) < 0);
    assert_int_equal(site_view(&site, &id).state, TY_JOB_COMPLETED);
    assert_int_equal(site_view(&site, &id).attempt, 1);
}

// What is kept of two million bytes of lines by a limit of a million: the first quarter, the latest, and a word in between.
static void a_long_log_loses_its_middle(void **state)
{
    (void)state;
    first.job_log_bytes = 1000000;
    site_add_script(&site, "long", OUT "seq 1000001 1250000\necho m >\"$out/m\"\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "long"});
    site_wait(&site, &id, TY_JOB_COMPLETED);
    struct reading reading = {.more = true, .lines = 1000000, .may_skip = true};
    read_on(&reading, &id);
    assert_int_equal(reading.lines, 1250000);
    assert_int_equal(reading.marks, 1);
    // Seven bytes a line; six are counted where its time takes a byte less than it is taken to (`line_bytes`).
    assert_in_range(reading.first_gap - 1000000, 20000, 42000);
    assert_in_range(reading.count, 110000, 168000);
    assert_string_equal(reading.last, "attempt 1 completed");
}

// Above a limit of many logs one that is written is kept short, and its job goes on.
static void log_is_kept_short(void)
{
    site_add_script(&site, "long", OUT "i=1000000; while [ ! -e \"$HOME/go\" ]; do seq $((i+1)) $((i+1000)); i=$((i+1000)); sleep 0.01; done\n"
                                       "seq $((i+1)) $((i+1000000))\necho m >\"$out/m\"\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "long"});
    site_wait_word(&site, &first, "log.limit");
    char text[TY_ID_TEXT_BYTES];
    FILE *file = fopen(site_path(&site, "work/w1/jobs/%s-1/home/go", ty_id_format(&id, text)), "w");
    assert_non_null(file);
    fclose(file);
    site_wait(&site, &id, TY_JOB_COMPLETED);
    struct reading reading = {.more = true, .lines = 1000000, .may_skip = true};
    read_on(&reading, &id);
    assert_true(reading.lines >= 2000000);
    assert_int_equal(reading.marks, 1);
    // Of the last million, at the least, there is a mebibyte or two, behind what it had at first.
    assert_true(reading.count < reading.lines - 1000000 - 300000);
    assert_string_equal(reading.last, "attempt 1 completed");
}

static void an_organization_above_its_limit_has_short_logs(void **state)
{
    (void)state;
    first.organization_log_bytes = 1;
    log_is_kept_short();
}

static void above_the_limit_of_all_logs_are_short(void **state)
{
    (void)state;
    first.total_log_bytes = 1;
    log_is_kept_short();
}

// The worker hears of it only when the store has taken the job's end; what it writes meanwhile must not bring the log back.
static void a_deleted_jobs_log_goes_while_it_is_written(void **state)
{
    (void)state;
    site_add_script(&site, "endless", OUT "i=0; while :; do i=$((i+1)); echo $i; done\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "endless"});
    SITE_UNTIL(&site, next_of(&id) > 5000);
    site_delete(&site, &id);
    SITE_UNTIL(&site, !site_view(&site, &id).is_there);
    SITE_UNTIL(&site, next_of(&id) == 0);
    site_stop(&site, &first);
    assert_int_equal(next_of(&id), 0);
    struct reading reading = read_log(&id);
    assert_int_equal(reading.lines, 0);
    assert_false(reading.ended);
}

// Its worker stands still until the job is gone: when it wakes up it writes on, and must find the log shut.
static void a_worker_that_wakes_up_finds_the_log_gone(void **state)
{
    (void)state;
    site_add_script(&site, "endless", OUT "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "endless"});
    SITE_UNTIL(&site, next_of(&id) > 50);
    site_pause(&first);
    site_delete(&site, &id);
    site_start(&site, &second); // its lease clock takes the job
    SITE_UNTIL(&site, !site_view(&site, &id).is_there);
    SITE_UNTIL(&site, next_of(&id) == 0);
    site_resume(&first);
    site_wait_word(&site, &first, "attempt.lost");
    assert_int_equal(next_of(&id), 0);
}

int main(int argc, char **argv)
{
    int status = run_site_main(argc, argv, TY_BINARY_DIR "/bin");
    if (status >= 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_million_lines_arrive_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_loses_its_end_gets_it_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_log_loses_its_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(an_organization_above_its_limit_has_short_logs, setup, teardown),
        cmocka_unit_test_setup_teardown(above_the_limit_of_all_logs_are_short, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deleted_jobs_log_goes_while_it_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(a_worker_that_wakes_up_finds_the_log_gone, setup, teardown),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
