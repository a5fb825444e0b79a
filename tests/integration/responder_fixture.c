#include "tests/integration/responder_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"

#define PATIENCE_MS 60000
#define ARGS_MAX 32
#define HEALTH_SERVING 1

struct responder_process {
    char dir[64], port_file[80], log_file[80], address[64];
    pid_t pid; // 0: ended
    bool told; // to end
    uint64_t told_ms;
};

// ---- the process ----

static char *read_file(const char *path)
{
    TY_BUF(text);
    FILE *file = fopen(path, "re");
    size_t got = 0;
    while (file && (got = fread(ty_buf_reserve(&text, 4096), 1, 4096, file)) > 0)
        text.len += got;
    if (file)
        fclose(file);
    return ty_xstrdup(ty_buf_text(&text));
}

const char *responder_process_log(struct responder_process *process)
{
    static char *text;
    free(text);
    text = read_file(process->log_file);
    return text;
}

static void child(const struct responder_process *process, char **argv, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    int fd = open(process->log_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 2);
    dup2(fd, 1);
    execv(argv[0], argv);
    _exit(127);
}

// Waits up to timeout_ms for the end; true when it has ended.
static bool wait_end(struct responder_process *process, int timeout_ms, int *ret_status)
{
    int fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    int ready = poll(&ended, 1, timeout_ms);
    close(fd);
    if (ready <= 0)
        return false;
    waitpid(process->pid, ret_status, 0);
    process->pid = 0;
    return true;
}

struct responder_process *responder_process_new(const char *program, const char *redis_url, const char *kafka_brokers,
                                                const char *const *args)
{
    struct responder_process *process = ty_xcalloc(1, sizeof *process);
    snprintf(process->dir, sizeof process->dir, "/tmp/ty-responder-XXXXXX");
    if (!mkdtemp(process->dir))
        fail_msg("%s: %s", process->dir, strerror(errno));
    snprintf(process->port_file, sizeof process->port_file, "%s/port", process->dir);
    snprintf(process->log_file, sizeof process->log_file, "%s/log", process->dir);
    const char *argv[ARGS_MAX] = {program, "--listen", "127.0.0.1:0", "--port-file", process->port_file,
                                  "--redis", redis_url, "--kafka-brokers", kafka_brokers};
    size_t argc = 9;
    while (args && *args && argc < ARGS_MAX - 1)
        argv[argc++] = *args++;
    pid_t parent = getpid();
    process->pid = fork();
    if (process->pid == 0)
        child(process, (char **)argv, parent);
    uint64_t deadline = ty_clock_mono_ms() + PATIENCE_MS;
    int status = 0;
    while (access(process->port_file, R_OK) < 0) {
        if (wait_end(process, 10, &status))
            fail_msg("%s ended: %s", program, responder_process_log(process));
        if (ty_clock_mono_ms() > deadline)
            fail_msg("%s does not listen: %s", program, responder_process_log(process));
    }
    char *address TY_FREE = read_file(process->port_file);
    snprintf(process->address, sizeof process->address, "%.*s", (int)strcspn(address, "\n"), address);
    return process;
}

const char *responder_process_address(const struct responder_process *process)
{
    return process->address;
}

int responder_process_pid(const struct responder_process *process)
{
    return process->pid;
}

void responder_process_tell(struct responder_process *process)
{
    if (!process->pid) // 0 would be all of our own group
        fail_msg("the responder has ended");
    process->told = true;
    process->told_ms = ty_clock_mono_ms();
    kill(process->pid, SIGTERM);
}

int responder_process_stop(struct responder_process *process, uint64_t *ret_took_ms)
{
    int status = 0;
    if (!process->told)
        responder_process_tell(process);
    if (!process->pid)
        fail_msg("the responder has ended");
    if (!wait_end(process, PATIENCE_MS, &status))
        fail_msg("the responder does not end: %s", responder_process_log(process));
    *ret_took_ms = ty_clock_mono_ms() - process->told_ms;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void responder_process_free(struct responder_process *process)
{
    int status;
    if (!process)
        return;
    if (process->pid) {
        kill(process->pid, SIGKILL);
        wait_end(process, PATIENCE_MS, &status);
    }
    unlink(process->port_file);
    unlink(process->log_file);
    rmdir(process->dir);
    free(process);
}

// ---- the client ----

struct rpc_client {
    grpc_channel *channel;
    grpc_completion_queue *queue; // pluck
};

// A call on its way. One batch sends, others receive; each is waited for by its own tag.
struct rpc_stream {
    struct rpc_client *client;
    grpc_call *call;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *sent, *received;
    grpc_status_code status;
    grpc_slice details;
    grpc_metadata metadata[8];
    size_t metadata_count;
    char end_tag, send_tag, receive_tag;
    bool receiving;
};

struct rpc_client *rpc_client_new(const char *address)
{
    struct rpc_client *client = ty_xcalloc(1, sizeof *client);
    grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)"grpc.use_local_subchannel_pool", .value.integer = 1};
    grpc_arg large = {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, .value.integer = -1};
    grpc_arg all[] = {arg, large};
    grpc_channel_args args = {.num_args = 2, .args = all};
    grpc_init();
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    client->channel = grpc_channel_create(address, credentials, &args);
    grpc_channel_credentials_release(credentials);
    client->queue = grpc_completion_queue_create_for_pluck(NULL);
    return client;
}

void rpc_client_free(struct rpc_client *client)
{
    if (!client)
        return;
    grpc_channel_destroy(client->channel);
    grpc_completion_queue_shutdown(client->queue);
    grpc_completion_queue_destroy(client->queue);
    grpc_shutdown();
    free(client);
}

static gpr_timespec in_ms(unsigned ms)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

static void wait_for(struct rpc_stream *stream, void *tag)
{
    grpc_event event = grpc_completion_queue_pluck(stream->client->queue, tag, in_ms(PATIENCE_MS), NULL);
    if (event.type != GRPC_OP_COMPLETE)
        fail_msg("a call has no end");
}

static void start(struct rpc_stream *stream, const grpc_op *ops, size_t count, void *tag)
{
    grpc_call_error error = grpc_call_start_batch(stream->call, ops, count, tag, NULL);
    if (error != GRPC_CALL_OK)
        fail_msg("grpc_call_start_batch: %s", grpc_call_error_to_string(error));
}

static struct rpc_stream *open_call(struct rpc_client *client, const char *path, const char *const *metadata,
                                    unsigned deadline_ms)
{
    struct rpc_stream *stream = ty_xcalloc(1, sizeof *stream);
    grpc_op ops[2] = {0};
    stream->client = client;
    grpc_metadata_array_init(&stream->initial);
    grpc_metadata_array_init(&stream->trailing);
    for (; metadata && *metadata && stream->metadata_count < 8; metadata += 2) {
        grpc_metadata *entry = &stream->metadata[stream->metadata_count++];
        entry->key = grpc_slice_from_copied_string(metadata[0]);
        entry->value = grpc_slice_from_copied_string(metadata[1]);
    }
    stream->call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, client->queue,
                                            grpc_slice_from_static_string(path), NULL,
                                            deadline_ms ? in_ms(deadline_ms) : gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    ops[0].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[0].data.recv_initial_metadata.recv_initial_metadata = &stream->initial;
    start(stream, ops, 1, &stream->initial);
    ops[0] = (grpc_op){.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    ops[0].data.recv_status_on_client.trailing_metadata = &stream->trailing;
    ops[0].data.recv_status_on_client.status = &stream->status;
    ops[0].data.recv_status_on_client.status_details = &stream->details;
    start(stream, ops, 1, &stream->end_tag);
    return stream;
}

static void close_call(struct rpc_stream *stream)
{
    for (size_t i = 0; i < stream->metadata_count; i++) {
        grpc_slice_unref(stream->metadata[i].key);
        grpc_slice_unref(stream->metadata[i].value);
    }
    grpc_metadata_array_destroy(&stream->initial);
    grpc_metadata_array_destroy(&stream->trailing);
    grpc_byte_buffer_destroy(stream->sent);
    grpc_byte_buffer_destroy(stream->received);
    grpc_slice_unref(stream->details);
    grpc_call_unref(stream->call);
    free(stream);
}

// A unary call: everything that is sent in one batch.
static void send_request(struct rpc_stream *stream, const void *bytes, size_t len)
{
    grpc_op ops[4] = {0};
    grpc_slice slice = grpc_slice_from_copied_buffer(bytes, len);
    stream->sent = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].data.send_initial_metadata.metadata = stream->metadata;
    ops[0].data.send_initial_metadata.count = stream->metadata_count;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = stream->sent;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_MESSAGE;
    ops[3].data.recv_message.recv_message = &stream->received;
    start(stream, ops, 4, &stream->send_tag);
}

static void end_request(struct rpc_stream *stream)
{
    wait_for(stream, &stream->send_tag);
    wait_for(stream, &stream->initial);
    wait_for(stream, &stream->end_tag);
}

static void copy_message(grpc_byte_buffer *from, struct ty_buf *to)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, from))
        fail_msg("a reply cannot be read");
    grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
    ty_buf_add(to, GRPC_SLICE_START_PTR(bytes), GRPC_SLICE_LENGTH(bytes));
    grpc_slice_unref(bytes);
    grpc_byte_buffer_reader_destroy(&reader);
}

static void take_trailing(const grpc_metadata_array *from, char *to, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < from->count && at < size; i++)
        at += (size_t)snprintf(to + at, size - at, "%.*s: %.*s\n", (int)GRPC_SLICE_LENGTH(from->metadata[i].key),
                               (const char *)GRPC_SLICE_START_PTR(from->metadata[i].key),
                               (int)GRPC_SLICE_LENGTH(from->metadata[i].value),
                               (const char *)GRPC_SLICE_START_PTR(from->metadata[i].value));
}

void rpc_call(struct rpc_client *client, const char *path, const void *bytes, size_t len, const char *const *metadata,
              unsigned deadline_ms, struct rpc_answer *ret_answer)
{
    uint64_t start_ms = ty_clock_mono_ms();
    struct rpc_stream *stream = open_call(client, path, metadata, deadline_ms);
    send_request(stream, bytes, len);
    end_request(stream);
    *ret_answer = (struct rpc_answer){.status = (int)stream->status, .took_ms = ty_clock_mono_ms() - start_ms};
    snprintf(ret_answer->message, sizeof ret_answer->message, "%.*s", (int)GRPC_SLICE_LENGTH(stream->details),
             (const char *)GRPC_SLICE_START_PTR(stream->details));
    take_trailing(&stream->trailing, ret_answer->trailing, sizeof ret_answer->trailing);
    ret_answer->has_message = stream->received != NULL;
    if (stream->received)
        copy_message(stream->received, &ret_answer->bytes);
    close_call(stream);
}

void rpc_answer_done(struct rpc_answer *answer)
{
    ty_buf_done(&answer->bytes);
}

void rpc_call_many(struct rpc_client *client, const char *path, const void *bytes, size_t len, unsigned count,
                   unsigned ret_statuses[17], uint64_t *ret_slowest_ms)
{
    struct rpc_stream **calls = ty_xcalloc(count, sizeof(struct rpc_stream *));
    uint64_t start_ms = ty_clock_mono_ms();
    memset(ret_statuses, 0, 17 * sizeof *ret_statuses);
    for (unsigned i = 0; i < count; i++) {
        calls[i] = open_call(client, path, NULL, 0);
        send_request(calls[i], bytes, len);
    }
    for (unsigned i = 0; i < count; i++) {
        end_request(calls[i]);
        ret_statuses[calls[i]->status <= 16 ? calls[i]->status : 2]++;
        close_call(calls[i]);
    }
    *ret_slowest_ms = ty_clock_mono_ms() - start_ms;
    free(calls);
}

void rpc_call_cancel(struct rpc_client *client, const char *path, const void *bytes, size_t len)
{
    struct rpc_stream *stream = open_call(client, path, NULL, 0);
    send_request(stream, bytes, len);
    grpc_call_cancel(stream->call, NULL);
    end_request(stream);
    close_call(stream);
}

// ---- streams ----

struct rpc_stream *rpc_stream_open(struct rpc_client *client, const char *path)
{
    return rpc_stream_open_with(client, path, NULL);
}

struct rpc_stream *rpc_stream_open_with(struct rpc_client *client, const char *path, const char *const *metadata)
{
    struct rpc_stream *stream = open_call(client, path, metadata, 0);
    grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    op.data.send_initial_metadata.metadata = stream->metadata;
    op.data.send_initial_metadata.count = stream->metadata_count;
    start(stream, &op, 1, &stream->send_tag);
    wait_for(stream, &stream->send_tag);
    return stream;
}

void rpc_stream_send(struct rpc_stream *stream, const void *bytes, size_t len)
{
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    grpc_slice slice = grpc_slice_from_copied_buffer(bytes, len);
    grpc_byte_buffer_destroy(stream->sent);
    stream->sent = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    op.data.send_message.send_message = stream->sent;
    start(stream, &op, 1, &stream->send_tag);
    wait_for(stream, &stream->send_tag);
}

void rpc_stream_half_close(struct rpc_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    start(stream, &op, 1, &stream->send_tag);
    wait_for(stream, &stream->send_tag);
}

void rpc_stream_expect(struct rpc_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &stream->received;
    start(stream, &op, 1, &stream->receive_tag);
    stream->receiving = true;
}

bool rpc_stream_receive(struct rpc_stream *stream, struct ty_buf *ret_message)
{
    if (!stream->receiving)
        rpc_stream_expect(stream);
    stream->receiving = false;
    wait_for(stream, &stream->receive_tag);
    if (!stream->received)
        return false;
    ty_buf_clear(ret_message);
    copy_message(stream->received, ret_message);
    grpc_byte_buffer_destroy(stream->received);
    stream->received = NULL;
    return true;
}

int rpc_stream_end(struct rpc_stream *stream, bool cancel)
{
    if (cancel)
        grpc_call_cancel(stream->call, NULL);
    wait_for(stream, &stream->initial);
    wait_for(stream, &stream->end_tag);
    int status = (int)stream->status;
    close_call(stream);
    return status;
}

// ---- both ----

void responder_process_await_store(struct responder_process *process)
{
    struct rpc_client *client = rpc_client_new(process->address);
    struct rpc_stream *watch = rpc_stream_open(client, "/grpc.health.v1.Health/Watch");
    TY_BUF(message);
    rpc_stream_send(watch, "", 0);
    rpc_stream_half_close(watch);
    do
        if (!rpc_stream_receive(watch, &message))
            fail_msg("the responder's health cannot be watched: %s", responder_process_log(process));
    while (message.len != 2 || message.data[1] != HEALTH_SERVING);
    rpc_stream_end(watch, true);
    rpc_client_free(client);
}
