#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/integration/run_site.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log_entry.h"
#include "trainyard/v1/command.pb-c.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest Request;
typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest__ArgumentsEntry Argument;

static const char launcher[] =
    "#!/bin/sh\n"
    "# Stands for a Python interpreter: -m pip install ... --target T SOURCE, and -m model.training ARGUMENTS.\n"
    "set -eu\n"
    "if [ \"$2\" = pip ]; then\n"
    "  while [ \"$1\" != --target ]; do shift; done\n"
    "  mkdir -p \"$2\"\n"
    "  cp -r \"$3/model\" \"$2/\"\n"
    "  exit 0\n"
    "fi\n"
    "shift 2\n"
    "exec /bin/sh \"$PYTHONPATH/model/training.py\" \"$@\"\n";

static const char containers[] =
    "{ \"format\": 1, \"default\": \"sh\", \"containers\": [\n"
    "  { \"key\": \"sh\", \"uri\": \"docker.io/library/debian:12\", \"framework\": \"\", \"description\": \"shell scripts\",\n"
    "    \"eol\": \"2099-01-01T00:00:00Z\", \"runner\": \"process\", \"python\": \"%s/launcher\", \"install\": \"offline\" },\n"
    "  { \"key\": \"python\", \"uri\": \"docker.io/library/debian:12\", \"framework\": \"\", \"description\": \"real Python\",\n"
    "    \"eol\": \"2099-01-01T00:00:00Z\", \"runner\": \"process\", \"python\": \"/usr/bin/python3\", \"install\": \"offline\" },\n"
    "  { \"key\": \"gone\", \"uri\": \"docker.io/library/debian:12\", \"framework\": \"\", \"description\": \"no interpreter\",\n"
    "    \"eol\": \"2099-01-01T00:00:00Z\", \"runner\": \"process\", \"python\": \"%s/no-such-python\", \"install\": \"offline\" },\n"
    "  { \"key\": \"null\", \"uri\": \"docker.io/library/debian:12\", \"framework\": \"\", \"description\": \"nothing\",\n"
    "    \"eol\": \"2099-01-01T00:00:00Z\", \"runner\": \"null\", \"hidden\": true } ] }\n";

// ---- files ----

const char *site_path(const struct site *site, const char *format, ...)
{
    static char paths[32][512];
    static unsigned at;
    char *path = paths[at++ % 32];
    int used = snprintf(path, sizeof paths[0], "%s/", site->dir);
    va_list args;
    va_start(args, format);
    vsnprintf(path + used, sizeof paths[0] - (size_t)used, format, args);
    va_end(args);
    return path;
}

static void write_text(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) < 0)
        fail_msg("%s: %s", path, strerror(errno));
}

static void make_dirs(const char *path)
{
    char *copy TY_FREE = ty_xstrdup(path);
    for (char *at = copy + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = 0;
        mkdir(copy, 0755);
    }
    if (mkdir(copy, 0755) < 0 && errno != EEXIST)
        fail_msg("%s: %s", path, strerror(errno));
}

void site_add_script(struct site *site, const char *name, const char *text)
{
    make_dirs(site_path(site, "store/scripts/acme/%s/1/model", name));
    write_text(site_path(site, "store/scripts/acme/%s/1/setup.py", name),
               "from setuptools import setup\nsetup(name='model', version='1', packages=['model'])\n", 0644);
    write_text(site_path(site, "store/scripts/acme/%s/1/model/__init__.py", name), "", 0644);
    write_text(site_path(site, "store/scripts/acme/%s/1/model/training.py", name), text, 0644);
}

static void make_store(struct site *site)
{
    strcpy(site->dir, "/tmp/ty-run-XXXXXX");
    if (!mkdtemp(site->dir))
        fail_msg("%s: %s", site->dir, strerror(errno));
    make_dirs(site_path(site, "store/datasets/digits/data"));
    make_dirs(site_path(site, "store/models"));
    make_dirs(site_path(site, "store/scripts/acme"));
    make_dirs(site_path(site, "catalog"));
    make_dirs(site_path(site, "work"));
    write_text(site_path(site, "store/datasets/digits/dataset.jsonl"), "{\"image_path\": \"data/1.txt\"}\n", 0644);
    write_text(site_path(site, "store/datasets/digits/data/1.txt"), "one\n", 0644);
    write_text(site_path(site, "launcher"), launcher, 0755);
    char *text TY_FREE = ty_xasprintf(containers, site->dir, site->dir);
    write_text(site_path(site, "catalog/containers.json"), text, 0644);
    write_text(site_path(site, "catalog/trainers.json"), "{ \"format\": 1, \"trainers\": [] }\n", 0644);
}

// ---- the store ----

void site_turn(struct site *site, uint64_t until, const char *what)
{
    struct ty_err err;
    if (ty_loop_run_once(site->loop, 20, &err) < 0)
        fail_msg("%s", err.message);
    if (ty_clock_mono_ms() > until)
        fail_msg("waited too long for: %s", what);
}

static void on_up(void *context, bool up, const struct ty_err *err)
{
    struct site *site = context;
    (void)err;
    site->up = up;
}

void site_open(struct site *site, unsigned shards)
{
    struct redis_server_options redis = {.appendonly = true};
    struct ty_err err;
    *site = (struct site){0};
    make_store(site);
    site->redis = redis_server_new(&redis);
    redis_server_start(site->redis);
    redis_server_trust(site->redis, shards);
    struct ty_state_options options = {.redis_url = redis_server_url(site->redis), .shards = shards, .command_ms = 10000,
                                       .tombstone_ms = 3600000, .log_retention_ms = 3600000, .default_max_attempts = 3};
    if (ty_catalog_load(site_path(site, "catalog"), &site->catalog, &err) < 0)
        fail_msg("%s", err.message);
    site->loop = ty_loop_new(&err);
    if (ty_state_new(site->loop, &options, on_up, site, &site->state, &err) < 0)
        fail_msg("%s", err.message);
    SITE_UNTIL(site, site->up);
}

void site_close(struct site *site)
{
    ty_buf_done(&site->streams);
    ty_state_free(site->state);
    ty_loop_free(site->loop);
    ty_catalog_free(site->catalog);
    redis_server_free(site->redis);
    if (getenv("TY_KEEP")) {
        fprintf(stderr, "kept: %s\n", site->dir);
        return;
    }
    char *command TY_FREE = ty_xasprintf("rm -rf -- '%s'", site->dir);
    if (system(command) != 0)
        fprintf(stderr, "%s could not be removed\n", site->dir);
}

static void finish(struct site *site, const struct ty_err *err)
{
    site->done = true;
    site->err = err ? *err : (struct ty_err){0};
}

static void on_applied(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results, size_t count)
{
    (void)gap;
    (void)stored;
    (void)results;
    (void)count;
    finish(context, err);
}

static void apply(struct site *site, const struct ty_apply *commands, size_t count)
{
    site->done = false;
    ty_state_apply(site->state, commands, count, NULL, on_applied, site);
    SITE_UNTIL(site, site->done);
    if (site->err.code)
        fail_msg("%s", site->err.message);
}

static void build(struct site *site, const struct site_job *job, const struct ty_id *id, const char *model, struct ty_buf *out)
{
    Request request = VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    Argument entries[4], *pointers[4];
    struct ty_spec spec;
    struct ty_err err;
    char *script TY_FREE = ty_xasprintf("acme:%s", job->script);
    request.organization_id = (char *)"acme";
    request.dataset_id = (char *)"digits";
    request.model_name = (char *)model;
    request.model_version = (char *)"1";
    request.registry_item_id = script;
    request.registry_item_version = (char *)(job->version ? job->version : "");
    request.container_version = (char *)(job->container ? job->container : "");
    request.arguments = pointers;
    for (size_t i = 0; i < 4 && job->arguments[2 * i]; i++) {
        viam__app__mltraining__v1__submit_custom_training_job_request__arguments_entry__init(&entries[i]);
        entries[i].key = (char *)job->arguments[2 * i];
        entries[i].value = (char *)job->arguments[2 * i + 1];
        pointers[request.n_arguments++] = &entries[i];
    }
    options.max_runtime_s = job->max_runtime_s;
    options.max_attempts = job->max_attempts;
    options.retry = (Trainyard__V1__RetryPolicy *)(uintptr_t)job->retry;
    if (job->stop_on_lost_lease)
        options.on_lost_lease = TRAINYARD__V1__ON_LOST_LEASE__ON_LOST_LEASE_STOP;
    uint64_t now_us = ty_clock_wall_us();
    if (ty_spec_build(site->catalog, id, now_us, NULL, &request, &options, &spec, &err) < 0)
        fail_msg("%s", err.message);
    ty_record_encode_new(&spec, now_us, true, TY_REASON_NONE, NULL, out);
    ty_spec_done(&spec);
}

void site_submit_as(struct site *site, const struct site_job *job, const struct ty_id *id)
{
    TY_BUF(record);
    char text[TY_ID_TEXT_BYTES];
    build(site, job, id, ty_id_format(id, text), &record);
    struct ty_apply command = {.kind = TY_COMMAND_SUBMIT_CUSTOM, .job_id = *id, .record = record.data,
                               .record_len = record.len, .organization_id = "acme"};
    apply(site, &command, 1);
}

struct ty_id site_submit(struct site *site, const struct site_job *job)
{
    struct ty_id id = ty_id_new();
    site_submit_as(site, job, &id);
    return id;
}

void site_submit_null(struct site *site, size_t count)
{
    enum { BATCH = 500 };
    const struct site_job job = {.script = "none", .container = "null"};
    static struct ty_apply commands[BATCH];
    static struct ty_buf records[BATCH];
    while (count) {
        size_t n = count < BATCH ? count : BATCH;
        for (size_t i = 0; i < n; i++) {
            struct ty_id id = ty_id_new();
            ty_buf_clear(&records[i]);
            build(site, &job, &id, "model", &records[i]);
            commands[i] = (struct ty_apply){.kind = TY_COMMAND_SUBMIT_CUSTOM, .job_id = id, .record = records[i].data,
                                            .record_len = records[i].len, .organization_id = "acme"};
        }
        apply(site, commands, n);
        count -= n;
    }
    for (size_t i = 0; i < BATCH; i++)
        ty_buf_done(&records[i]);
}

void site_cancel(struct site *site, const struct ty_id *id)
{
    struct ty_apply command = {.kind = TY_COMMAND_CANCEL, .job_id = *id};
    apply(site, &command, 1);
}

void site_delete(struct site *site, const struct ty_id *id)
{
    struct ty_apply command = {.kind = TY_COMMAND_DELETE, .job_id = *id};
    apply(site, &command, 1);
}

// ---- looking ----

static size_t listed;

static void on_listed(void *context, const struct ty_err *err, const struct ty_list_page *page)
{
    listed = err ? 0 : page->count;
    finish(context, err);
}

size_t site_count(struct site *site, unsigned shard, enum ty_job_state state)
{
    site->done = false;
    struct ty_list_query query = {.organization_id = "acme", .states = 1u << state, .limit = 1000, .max_bytes = SIZE_MAX};
    ty_state_list(site->state, shard, &query, on_listed, site);
    SITE_UNTIL(site, site->done);
    return site->err.code ? 0 : listed;
}

static struct site_view seen;

static void on_got(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct site *site = context;
    finish(site, err);
    seen = (struct site_view){0};
    if (err || !record)
        return;
    size_t worker_len;
    const char *worker = ty_record_worker(record, &worker_len);
    TY_BUF(bytes);
    ty_record_metadata(record, &bytes);
    Viam__App__Mltraining__V1__TrainingJobMetadata *metadata =
        viam__app__mltraining__v1__training_job_metadata__unpack(NULL, bytes.len, bytes.data);
    seen = (struct site_view){.state = record->state, .stage = record->stage, .reason = record->reason,
                              .attempt = record->attempt, .errors = record->errors, .losses = record->worker_losses,
                              .started_us = record->started_us, .fence = record->fence,
                              .due_us = ty_record_due_us(record), .is_there = true};
    snprintf(seen.worker, sizeof seen.worker, "%.*s", (int)worker_len, worker);
    snprintf(seen.model, sizeof seen.model, "%s", metadata->synced_model_id);
    snprintf(seen.script_version, sizeof seen.script_version, "%s", metadata->registry_item_version);
    if (metadata->error_status) {
        seen.code = metadata->error_status->code;
        snprintf(seen.message, sizeof seen.message, "%s", metadata->error_status->message);
    }
    viam__app__mltraining__v1__training_job_metadata__free_unpacked(metadata, NULL);
}

struct site_view site_view(struct site *site, const struct ty_id *id)
{
    do {
        SITE_UNTIL(site, site->up);
        site->done = false;
        ty_state_get(site->state, id, on_got, site);
        SITE_UNTIL(site, site->done);
    } while (site->err.code);
    return seen;
}

struct site_view site_wait(struct site *site, const struct ty_id *id, enum ty_job_state state)
{
    uint64_t until = ty_clock_mono_ms() + SITE_WAIT_MS;
    struct site_view view = site_view(site, id);
    while (view.state != state) {
        bool is_over = view.state == TY_JOB_COMPLETED || view.state == TY_JOB_FAILED || view.state == TY_JOB_CANCELED;
        if (is_over || ty_clock_mono_ms() > until)
            fail_msg("the job is %s, %s, not %s: %s", ty_state_name(view.state), ty_reason_name(view.reason),
                     ty_state_name(state), view.message);
        site_turn(site, until, "a state");
        view = site_view(site, id);
    }
    return view;
}

void site_wait_stage(struct site *site, const struct ty_id *id, unsigned stage)
{
    uint64_t until = ty_clock_mono_ms() + SITE_WAIT_MS;
    while (site_view(site, id).stage != stage)
        site_turn(site, until, ty_stage_name(stage));
}

struct page {
    struct site *site;
    struct ty_buf *out;
    bool more, ended;
    uint32_t attempt;
    uint64_t sequence;
};

static void on_page(void *context, const struct ty_err *err, const struct ty_log_page *got)
{
    struct page *page = context;
    finish(page->site, err);
    if (err)
        return;
    for (size_t i = 0; i < got->count; i++) {
        struct ty_log_entry stored;
        ty_log_entry_read(got->entries[i].data, got->entries[i].len, &stored);
        assert_int_not_equal(stored.stream, TY_LOG_STREAM_UNSPECIFIED);
        ty_buf_add_byte(&page->site->streams, (uint8_t)"?woe"[stored.stream]);
        Viam__App__Mltraining__V1__TrainingJobLogEntry *entry =
            viam__app__mltraining__v1__training_job_log_entry__unpack(NULL, stored.len, stored.message);
        assert_non_null(entry);
        ty_buf_add_format(page->out, "%s ", entry->level);
        ty_buf_add_text(page->out, entry->message);
        ty_buf_add_byte(page->out, '\n');
        viam__app__mltraining__v1__training_job_log_entry__free_unpacked(entry, NULL);
    }
    page->more = got->more;
    page->ended = got->ended;
    page->attempt = got->next_attempt;
    page->sequence = got->next_sequence;
}

void site_log(struct site *site, const struct ty_id *id, struct ty_buf *out, bool *ret_ended)
{
    struct page page = {.site = site, .out = out, .more = true};
    ty_buf_clear(out);
    ty_buf_clear(&site->streams);
    while (page.more) {
        site->done = false;
        ty_state_log_page(site->state, id, page.attempt, page.sequence, 1000, 1 << 20, on_page, &page);
        SITE_UNTIL(site, site->done);
        if (site->err.code)
            fail_msg("%s", site->err.message);
    }
    ty_buf_text(out);
    if (ret_ended)
        *ret_ended = page.ended;
}

void site_wait_log(struct site *site, const struct ty_id *id, const char *text)
{
    uint64_t until = ty_clock_mono_ms() + SITE_WAIT_MS;
    TY_BUF(log);
    for (site_log(site, id, &log, NULL); !strstr((char *)log.data, text); site_log(site, id, &log, NULL))
        site_turn(site, until, text);
}

void site_wait_file(struct site *site, const char *path)
{
    uint64_t until = ty_clock_mono_ms() + SITE_WAIT_MS;
    while (access(path, F_OK) < 0)
        site_turn(site, until, path);
}

// ---- workers ----

void site_wait_word(struct site *site, const struct site_worker *worker, const char *text)
{
    uint64_t until = ty_clock_mono_ms() + SITE_WAIT_MS;
    const char *path = site_path(site, "%s.log", worker->name);
    bool has = false;
    while (!has) {
        char line[1024];
        FILE *file = fopen(path, "r");
        while (file && !has && fgets(line, sizeof line, file))
            has = strstr(line, text) != NULL;
        if (file)
            fclose(file);
        if (!has)
            site_turn(site, until, text);
    }
}

static size_t test_args(const struct site *site, const struct site_worker *worker, char **args)
{
    const unsigned values[] = {worker->slots, worker->null_slots, worker->lease_ms, worker->grace_ms,
                               worker->drain_ms, worker->keep_job_dirs, worker->shards};
    size_t count = 0;
    args[count++] = ty_xstrdup("/proc/self/exe");
    args[count++] = ty_xstrdup("--worker");
    args[count++] = ty_xstrdup(redis_server_url(site->redis));
    args[count++] = ty_xstrdup(site->dir);
    args[count++] = ty_xstrdup(worker->name);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        args[count++] = ty_xasprintf("%u", values[i]);
    args[count++] = ty_xasprintf("%u %u %u", worker->max_losses, worker->retry_base_ms, worker->retry_max_ms);
    args[count++] = ty_xasprintf("%u %u %u %u %u %u %u %u", worker->sweep_ms, worker->job_dirs_ms, worker->job_retention_ms,
                                  worker->stage_look_ms, worker->model_retention_ms, worker->job_log_bytes,
                                  worker->organization_log_bytes, worker->total_log_bytes);
    return count;
}

static size_t program_args(const struct site *site, const struct site_worker *worker, char **args)
{
    size_t count = 0;
    args[count++] = ty_xstrdup(worker->program);
    args[count++] = ty_xstrdup("--role=run");
    args[count++] = ty_xasprintf("--redis=%s", redis_server_url(site->redis));
    args[count++] = ty_xasprintf("--name=%s", worker->name);
    args[count++] = ty_xasprintf("--work-dir=%s/work/%s", site->dir, worker->name);
    args[count++] = ty_xasprintf("--store-dir=%s/store", site->dir);
    args[count++] = ty_xasprintf("--catalog-dir=%s/catalog", site->dir);
    args[count++] = ty_xasprintf("--slots=%u", worker->slots);
    args[count++] = ty_xasprintf("--lease-ms=%u", worker->lease_ms);
    args[count++] = ty_xasprintf("--grace-ms=%u", worker->grace_ms);
    args[count++] = ty_xasprintf("--drain-ms=%u", worker->drain_ms);
    args[count++] = ty_xasprintf("--shards=%u", worker->shards);
    return count;
}

void site_start(struct site *site, struct site_worker *worker)
{
    char *args[24] = {0};
    size_t count = worker->program ? program_args(site, worker, args) : test_args(site, worker, args);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, site_path(site, "%s.log", worker->name), O_WRONLY | O_CREAT | O_APPEND, 0644);
    int rc = posix_spawn(&worker->pid, args[0], &actions, NULL, args, environ);
    posix_spawn_file_actions_destroy(&actions);
    while (count)
        free(args[--count]);
    if (rc != 0)
        fail_msg("no worker: %s", strerror(rc));
}

void site_kill(struct site_worker *worker)
{
    if (!worker->pid)
        return;
    kill(worker->pid, SIGKILL);
    waitpid(worker->pid, NULL, 0);
    worker->pid = 0;
}

void site_pause(struct site_worker *worker)
{
    int status;
    kill(worker->pid, SIGSTOP);
    waitpid(worker->pid, &status, WUNTRACED);
}

void site_resume(struct site_worker *worker)
{
    kill(worker->pid, SIGCONT);
}

int site_join(struct site *site, struct site_worker *worker)
{
    uint64_t until = ty_clock_mono_ms() + SITE_WAIT_MS;
    int status = 0;
    while (waitpid(worker->pid, &status, WNOHANG) == 0)
        site_turn(site, until, "the worker's end");
    worker->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int site_stop(struct site *site, struct site_worker *worker)
{
    kill(worker->pid, SIGTERM);
    return site_join(site, worker);
}
