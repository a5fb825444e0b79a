#include "producer/cli/submitting.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "producer/cli/when.h"

#define CLOSE_MS 100

int ty_submitting_pairs(const char *flag, char *const *texts, struct trainyard_pair **ret_pairs, size_t *ret_count,
                        struct ty_err *err)
{
    size_t count = 0, bytes = 0;
    for (; texts && texts[count]; count++) {
        const char *equals = strchr(texts[count], '=');
        if (!equals || equals == texts[count])
            return ty_err_set(err, TY_EINVALID, "--%s: \"%.64s\" is not of the form key=value", flag, texts[count]);
        bytes += strlen(texts[count]) + 1;
    }
    struct trainyard_pair *pairs = ty_xmalloc(count * sizeof *pairs + bytes + 1);
    char *text = (char *)(pairs + count);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(texts[i]) + 1;
        memcpy(text, texts[i], len);
        char *equals = strchr(text, '=');
        *equals = 0;
        pairs[i] = (struct trainyard_pair){.key = text, .value = equals + 1};
        text += len;
    }
    *ret_pairs = pairs;
    *ret_count = count;
    return 0;
}

static int read_codes(const char *flag, char *const *texts, const uint32_t **ret_codes, size_t *ret_count, struct ty_err *err)
{
    size_t count = 0;
    while (texts && texts[count])
        count++;
    uint32_t *codes = ty_xcalloc(count + 1, sizeof *codes);
    for (size_t i = 0; i < count; i++) {
        char *end;
        unsigned long code = strtoul(texts[i], &end, 10);
        if (*texts[i] < '0' || *texts[i] > '9' || *end || code < 1 || code > 255) {
            free(codes);
            return ty_err_set(err, TY_EINVALID, "--%s: \"%.64s\" is no exit code; 1 to 255 are allowed", flag, texts[i]);
        }
        codes[i] = (uint32_t)code;
    }
    *ret_codes = codes;
    *ret_count = count;
    return 0;
}

void ty_submitting_options_done(struct trainyard_job_options *options)
{
    free((void *)options->labels);
    free((void *)options->retry_exit_codes);
    free((void *)options->no_retry_exit_codes);
}

int ty_submitting_options(const struct ty_submitting *submitting, struct trainyard_job_options *ret_options,
                          struct ty_err *err)
{
    struct trainyard_pair *labels;
    *ret_options = (struct trainyard_job_options)TRAINYARD_JOB_OPTIONS_INIT;
    if (ty_submitting_pairs("label", submitting->labels, &labels, &ret_options->label_count, err) < 0)
        return -(int)err->code;
    ret_options->labels = labels;
    if (read_codes("retry-exit-code", submitting->retry_exit_codes, &ret_options->retry_exit_codes,
                   &ret_options->retry_exit_code_count, err) < 0 ||
        read_codes("no-retry-exit-code", submitting->no_retry_exit_codes, &ret_options->no_retry_exit_codes,
                   &ret_options->no_retry_exit_code_count, err) < 0) {
        ty_submitting_options_done(ret_options);
        return -(int)err->code;
    }
    ret_options->retry_on_error = submitting->retry_on_error;
    ret_options->retry_base_ms = (uint32_t)submitting->retry_base_ms;
    ret_options->retry_max_ms = (uint32_t)submitting->retry_max_ms;
    ret_options->priority = (uint32_t)submitting->priority;
    ret_options->max_runtime_s = (uint32_t)submitting->max_runtime_s;
    ret_options->max_wait_s = (uint32_t)submitting->max_wait_s;
    ret_options->max_attempts = (uint32_t)submitting->max_attempts;
    ret_options->on_lost_lease = submitting->on_lost_lease;
    ret_options->idempotency_key = submitting->idempotency_key;
    ret_options->cpu_millis = (uint32_t)submitting->cpu_millis;
    ret_options->gpus = (uint32_t)submitting->gpus;
    ret_options->memory_bytes = (uint64_t)submitting->memory_bytes;
    return 0;
}

const char *ty_submitting_version(const char *model_version, char **ret_made)
{
    char now[TY_WHEN_BYTES];
    if (model_version && *model_version)
        return model_version;
    *ret_made = ty_xstrdup(ty_when_version((int64_t)ty_clock_wall_us(), now));
    return *ret_made;
}

// ---- waiting ----

static int wait_for_end(struct ty_cli *cli, const struct ty_submitting *submitting, const char *id, json_t **ret_job,
                        struct ty_err *err)
{
    struct ty_follow_log log = {.out = cli->notes, .color = cli->notes_color, .follow = true, .tail = -1};
    struct ty_rpc_client *client;
    TyJobAnswer *answer;
    int log_rc = 0;
    if (ty_cli_connect(cli, &client, err) < 0)
        return -(int)err->code;
    if (submitting->follow)
        log_rc = ty_follow_log(cli, client, id, &submitting->waiting, &log, err);
    int rc = log_rc < 0 ? log_rc
                        : ty_follow_status(cli, client, id, &submitting->waiting,
                                           submitting->follow || cli->common->json ? NULL : cli->notes, &answer, err);
    ty_rpc_client_free(client);
    if (rc == -TY_ENOTFOUND)
        ty_cli_note(cli, "Kafka has the command: it is taken up as soon as a worker runs; where that job was deleted before, nothing comes of it");
    if (rc < 0)
        return rc;
    const TyJobMetadata *job = answer->metadata;
    rc = ty_job_exit(job);
    if (submitting->follow)
        ty_cli_note(cli, "the job ended %s", ty_job_status(job));
    if (job->error_status)
        ty_cli_note(cli, "%s", job->error_status->message);
    *ret_job = ty_job_json(job);
    ty_job_free(answer);
    return rc ? rc : log_rc;
}

static int publish(struct ty_cli *cli, ty_submitting_fn fn, const void *job, struct trainyard_receipt *ret_receipt,
                   struct ty_err *err)
{
    struct trainyard_client *client;
    struct trainyard_error error;
    if (ty_publish_open(cli, &client, err) < 0)
        return -(int)err->code;
    int rc = fn(client, job, ret_receipt, &error);
    if (rc < 0) {
        rc = ty_publish_error(cli, &error, ret_receipt, err);
        if (error.unknown)
            ty_cli_note(cli, "submitting again with --job-id %s makes no second job", ret_receipt->job_id);
    }
    trainyard_client_free(client, CLOSE_MS);
    return rc;
}

int ty_submitting_run(struct ty_cli *cli, const struct ty_submitting *submitting, ty_submitting_fn fn, const void *job,
                      struct ty_err *err)
{
    struct trainyard_receipt receipt;
    json_t *ended = NULL;
    int rc = publish(cli, fn, job, &receipt, err);
    if (rc < 0)
        return rc;
    if (!cli->common->json) {
        fprintf(cli->out, "%s\n", receipt.job_id);
        fflush(cli->out);
    }
    if (submitting->wait || submitting->follow)
        rc = wait_for_end(cli, submitting, receipt.job_id, &ended, err);
    if (cli->common->json) {
        // Whatever came of the waiting: the job was submitted, and this is its id.
        json_t *document = ty_publish_json(&receipt);
        json_object_set(document, "job", ended ? ended : json_null());
        ty_cli_put_json(cli, document, false);
    }
    json_decref(ended);
    return rc;
}
