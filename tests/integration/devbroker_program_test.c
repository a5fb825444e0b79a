// trainyard-devbroker as a process: the topics it makes, records through it, what it says, and its end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"

#define PROGRAM TY_BINARY_DIR "/bin/trainyard-devbroker"
#define PATIENCE_MS 60000

struct program {
    char dir[64];
    pid_t pid;
};

static char *path_in(const struct program *program, const char *name)
{
    return ty_xasprintf("%s/%s", program->dir, name);
}

static char *read_file(const struct program *program, const char *name)
{
    char *path TY_FREE = path_in(program, name);
    char *text = ty_xcalloc(1, 65536);
    FILE *file = fopen(path, "re");
    if (file) {
        size_t len = fread(text, 1, 65535, file);
        text[len] = '\0';
        fclose(file);
    }
    return text;
}

static void write_file(const struct program *program, const char *name, const char *text)
{
    char *path TY_FREE = path_in(program, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

// argv without the program's name, NULL-terminated. Output and errors go to the file "output".
static void start(struct program *program, const char *const *argv)
{
    const char *all[16] = {PROGRAM};
    char *output TY_FREE = path_in(program, "output");
    for (size_t i = 0; argv[i]; i++)
        all[i + 1] = argv[i];
    program->pid = fork();
    assert_true(program->pid >= 0);
    if (program->pid == 0) {
        int fd = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execv(PROGRAM, (char *const *)all);
        _exit(127);
    }
}

// The exit status, or -signal; fails when it takes too long.
static int wait_end(struct program *program)
{
    int status;
    struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, program->pid, 0), .events = POLLIN};
    assert_true(ended.fd >= 0);
    if (poll(&ended, 1, PATIENCE_MS) != 1) {
        kill(program->pid, SIGKILL);
        fail_msg("%s does not end", PROGRAM);
    }
    close(ended.fd);
    assert_int_equal(waitpid(program->pid, &status, 0), program->pid);
    program->pid = 0;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int run(struct program *program, const char *const *argv)
{
    start(program, argv);
    return wait_end(program);
}

// The address, once the port file is there.
static char *start_broker(struct program *program, const char *const *more)
{
    char *port_file TY_FREE = path_in(program, "port");
    const char *argv[8] = {"--port-file", port_file};
    for (size_t i = 0; more && more[i]; i++)
        argv[i + 2] = more[i];
    uint64_t end_ms = ty_clock_mono_ms() + PATIENCE_MS;
    start(program, argv);
    while (access(port_file, F_OK) < 0) {
        char *output TY_FREE = read_file(program, "output");
        if (ty_clock_mono_ms() > end_ms)
            fail_msg("no port file; it said: %s", output);
        poll(NULL, 0, 5);
    }
    char *address = read_file(program, "port");
    assert_non_null(strchr(address, '\n'));
    address[strcspn(address, "\n")] = '\0';
    return address;
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *address)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", address, text, sizeof text), RD_KAFKA_CONF_OK);
    if (type == RD_KAFKA_PRODUCER) {
        rd_kafka_conf_set(conf, "enable.idempotence", "true", text, sizeof text);
    } else {
        rd_kafka_conf_set(conf, "group.id", "readers", text, sizeof text);
        rd_kafka_conf_set(conf, "fetch.wait.max.ms", "10", text, sizeof text);
        rd_kafka_conf_set(conf, "auto.offset.reset", "earliest", text, sizeof text);
    }
    rd_kafka_t *handle = rd_kafka_new(type, conf, text, sizeof text);
    if (!handle)
        fail_msg("%s", text);
    return handle;
}

static int partitions_of(rd_kafka_t *handle, const char *name)
{
    const struct rd_kafka_metadata *metadata = NULL;
    int count = 0;
    assert_int_equal(rd_kafka_metadata(handle, 1, NULL, &metadata, PATIENCE_MS), 0);
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (!strcmp(metadata->topics[i].topic, name))
            count = metadata->topics[i].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    return count;
}

static int set_up(void **state)
{
    struct program *program = ty_xcalloc(1, sizeof *program);
    strcpy(program->dir, "/tmp/ty-devbroker-XXXXXX");
    *state = program;
    return mkdtemp(program->dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"output", "port", "topics.json"};
    struct program *program = *state;
    if (program->pid) {
        kill(program->pid, SIGKILL);
        waitpid(program->pid, NULL, 0);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path TY_FREE = path_in(program, names[i]);
        unlink(path);
    }
    rmdir(program->dir);
    free(program);
    return 0;
}

static void makes_the_topics_with_their_partitions(void **state)
{
    struct program *program = *state;
    char *address TY_FREE = start_broker(program, NULL);
    rd_kafka_t *handle = client(RD_KAFKA_PRODUCER, address);
    assert_int_equal(partitions_of(handle, "mltraining.submit"), 8);
    assert_int_equal(partitions_of(handle, "mltraining.cancel"), 8);
    assert_int_equal(partitions_of(handle, "mltraining.delete"), 8);
    assert_int_equal(partitions_of(handle, "mltraining.events"), 8);
    assert_int_equal(partitions_of(handle, "mltraining.settings"), 1);
    assert_int_equal(partitions_of(handle, "mltraining.dead-letter"), 1);
    rd_kafka_destroy(handle);
}

static void takes_a_prefix_and_other_topics(void **state)
{
    struct program *program = *state;
    write_file(program, "topics.json",
               "{\"format\": 1, \"prefix\": \"own.\", \"topics\": [{\"name\": \"only\", \"key\": \"k\", \"value\": \"v\","
               " \"writers\": [\"w\"], \"readers\": [\"r\"], \"partitions\": 3, \"config\": {}}]}");
    char *topics TY_FREE = path_in(program, "topics.json");
    char *address TY_FREE =
        start_broker(program, (const char *const[]){"--topics", topics, "--topic-prefix", "mine.", NULL});
    rd_kafka_t *handle = client(RD_KAFKA_PRODUCER, address);
    assert_int_equal(partitions_of(handle, "mine.only"), 3);
    assert_int_equal(partitions_of(handle, "own.only"), 0);
    assert_int_equal(partitions_of(handle, "mltraining.submit"), 0);
    rd_kafka_destroy(handle);
}

static void a_group_reads_what_was_acknowledged(void **state)
{
    struct program *program = *state;
    char *address TY_FREE = start_broker(program, NULL);
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, address);
    assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("mltraining.cancel"), RD_KAFKA_V_KEY("key", 3),
                                       RD_KAFKA_V_VALUE((void *)"value", 5), RD_KAFKA_V_HEADER("h", "1", 1),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END), 0);
    assert_int_equal(rd_kafka_flush(producer, PATIENCE_MS), 0);
    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, address);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, "mltraining.cancel", RD_KAFKA_PARTITION_UA);
    assert_int_equal(rd_kafka_subscribe(consumer, topics), 0);
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, PATIENCE_MS);
    for (int i = 0; message && message->err && i < 10; i++) { // a connection that has to be made again is told of, too
        print_message("%s\n", rd_kafka_message_errstr(message));
        rd_kafka_message_destroy(message);
        message = rd_kafka_consumer_poll(consumer, PATIENCE_MS);
    }
    assert_non_null(message);
    assert_int_equal(message->err, 0);
    assert_int_equal(message->len, 5);
    assert_memory_equal(message->payload, "value", 5);
    assert_memory_equal(message->key, "key", 3);
    rd_kafka_message_destroy(message);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    rd_kafka_destroy(producer);
}

static void ends_on_a_signal_and_says_what_it_is(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT};
    struct program *program = *state;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        char *address TY_FREE = start_broker(program, NULL);
        kill(program->pid, signals[i]);
        assert_int_equal(wait_end(program), 0);
        char *output TY_FREE = read_file(program, "output");
        assert_non_null(strstr(output, "never for work"));
        assert_non_null(strstr(output, "5 MiB"));
        char *ready TY_FREE = ty_xasprintf("event=devbroker.ready listen=%s", address);
        assert_non_null(strstr(output, ready));
        char *port TY_FREE = path_in(program, "port");
        unlink(port);
    }
}

static void wrong_usage_has_a_clear_error(void **state)
{
    struct program *program = *state;
    char *topics TY_FREE = path_in(program, "topics.json");
    assert_int_equal(run(program, (const char *const[]){"--nonsense", NULL}), 2);
    assert_int_equal(run(program, (const char *const[]){"--topics", topics, NULL}), 4);
    char *missing TY_FREE = read_file(program, "output");
    assert_non_null(strstr(missing, topics));
    write_file(program, "topics.json", "{\"format\": 1,\n \"prefix\": 5, \"topics\": []}");
    assert_int_equal(run(program, (const char *const[]){"--topics", topics, NULL}), 2);
    char *wrong TY_FREE = read_file(program, "output");
    assert_non_null(strstr(wrong, "topics.json:2: prefix"));
    char *nowhere TY_FREE = path_in(program, "no-such-directory/port");
    assert_int_equal(run(program, (const char *const[]){"--port-file", nowhere, NULL}), 1);
    char *unwritable TY_FREE = read_file(program, "output");
    assert_non_null(strstr(unwritable, "no-such-directory/port"));
}

static void help_and_version(void **state)
{
    struct program *program = *state;
    assert_int_equal(run(program, (const char *const[]){"--help", NULL}), 0);
    char *help TY_FREE = read_file(program, "output");
    assert_non_null(strstr(help, "--port-file"));
    assert_non_null(strstr(help, "never for work"));
    assert_int_equal(run(program, (const char *const[]){"--version", NULL}), 0);
    char *version TY_FREE = read_file(program, "output");
    assert_non_null(strstr(version, rd_kafka_version_str()));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(makes_the_topics_with_their_partitions), TEST(takes_a_prefix_and_other_topics),
        TEST(a_group_reads_what_was_acknowledged),    TEST(ends_on_a_signal_and_says_what_it_is),
        TEST(wrong_usage_has_a_clear_error),          TEST(help_and_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
