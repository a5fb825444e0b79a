// schemas/examples/submit.py, which has nothing of ours but the .proto files, against a real Kafka: what it publishes is what
// the intake reads, and its ids from keys are ours.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "core/buf.h"
#include "core/command.h"
#include "tests/integration/kafka_broker.h"

static struct kafka_broker *broker;
static char *python;

// The first line that a command writes; its exit status is returned.
static int first_line(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int first_line(char *out, size_t size, const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    *out = 0;
    FILE *pipe = popen(command, "re");
    if (!pipe || !fgets(out, (int)size, pipe))
        *out = 0;
    while (pipe && fgetc(pipe) != EOF)
        ;
    out[strcspn(out, "\n")] = 0;
    int status = pipe ? pclose(pipe) : -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int submit_py(char *out, size_t size, const char *arguments)
{
    return first_line(out, size, "%s %s/schemas/examples/submit.py --brokers %s --topic-prefix foreign. --issuer tester %s 2>&1",
                      python, TY_SOURCE_DIR, kafka_broker_address(broker), arguments);
}

// The last record of a topic, decoded as the intake does.
static struct {
    enum ty_topic_kind topic;
    struct ty_command command;
    bool has_traceparent;
} last;

static void on_record(void *context, const rd_kafka_message_t *message)
{
    struct ty_err err;
    bool has_id;
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;
    (void)context;
    ty_command_done(&last.command);
    if (ty_command_decode(last.topic, message->key, message->key_len, message->payload, message->len, &last.command, &has_id,
                          &err) < 0)
        fail_msg("%s", err.message);
    last.has_traceparent = !rd_kafka_message_headers(message, &headers) &&
                           !rd_kafka_header_get_last(headers, "traceparent", &value, &len) && len == 55;
}

static void read_only_record(const char *topic, enum ty_topic_kind kind)
{
    last.topic = kind;
    assert_int_equal(kafka_broker_read(broker, topic, on_record, NULL), 1);
}

static void the_round(void **state)
{
    (void)state;
    char out[256], id[TY_ID_TEXT_BYTES], cancel[64];
    struct ty_spec spec;
    struct ty_err err;
    struct ty_catalog *catalog;
    kafka_broker_make_topics(broker, "foreign.", 1);
    assert_int_equal(submit_py(out, sizeof out,
                               "--traceparent 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 submit-custom "
                               "--organization org --dataset digits --model digit --script org:train --argument epochs=3 "
                               "--idempotency-key monday --tag team=vision --priority 3"),
                     0);
    struct ty_id of_key = ty_id_from_key("org", "monday");
    assert_string_equal(out, ty_id_format(&of_key, id));
    read_only_record("foreign.submit", TY_TOPIC_SUBMIT);
    assert_true(last.has_traceparent);
    assert_int_equal(last.command.kind, TY_COMMAND_SUBMIT_CUSTOM);
    assert_true(ty_id_equal(&last.command.job_id, &of_key));
    assert_string_equal(last.command.message->issuer, "tester");
    assert_string_equal(last.command.message->submit_custom->arguments[0]->key, "epochs");
    assert_string_equal(last.command.message->options->labels[0]->value, "vision");
    assert_int_equal(ty_catalog_load(NULL, &catalog, &err), 0);
    if (ty_spec_build(catalog, &of_key, 1, NULL, last.command.message->submit_custom, last.command.message->options, &spec,
                      &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(spec.priority, 3);
    ty_spec_done(&spec);
    ty_catalog_free(catalog);
    snprintf(cancel, sizeof cancel, "cancel %s", id);
    assert_int_equal(submit_py(out, sizeof out, cancel), 0);
    read_only_record("foreign.cancel", TY_TOPIC_CANCEL);
    assert_string_equal(last.command.message->cancel->id, id);
    snprintf(cancel, sizeof cancel, "delete %s", id);
    assert_int_equal(submit_py(out, sizeof out, cancel), 0);
    read_only_record("foreign.delete", TY_TOPIC_DELETE);
    assert_int_equal(last.command.kind, TY_COMMAND_DELETE);
    ty_command_done(&last.command);
}

static void wrong_use(void **state)
{
    (void)state;
    char out[256];
    assert_int_equal(submit_py(out, sizeof out, "cancel 17"), 2);
    assert_int_equal(submit_py(out, sizeof out, "submit --organization org"), 2);
    assert_int_equal(first_line(out, sizeof out,
                                "%s %s/schemas/examples/submit.py --brokers 127.0.0.1:1 cancel "
                                "a0000000-0000-4000-8000-00000000000b 2>&1",
                                python, TY_SOURCE_DIR),
                     1);
    assert_non_null(strstr(out, "Kafka has not acknowledged a0000000-0000-4000-8000-00000000000b: NoBrokersAvailable"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_round),
        cmocka_unit_test(wrong_use),
    };
    char path[512];
    const char *no_skip = getenv("TRAINYARD_NO_SKIP");
    if (first_line(path, sizeof path, "%s/tests/e2e/foreign/venv", TY_SOURCE_DIR) != 0) {
        printf("skipped: no virtual environment for the foreign clients\n");
        return no_skip && !strcmp(no_skip, "1") ? 1 : 77;
    }
    python = path;
    broker = kafka_broker_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kafka_broker_free(broker);
    return failed;
}
