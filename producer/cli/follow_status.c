#include <string.h>

#include "core/clock.h"
#include "core/record.h"
#include "producer/cli/follow.h"
#include "producer/cli/job_details.h"
#include "producer/cli/patience.h"
#include "producer/cli/text.h"
#include "producer/cli/when.h"

// A job that runs, and what it says of its progress: told when that is another than before.
struct told {
    double fraction;
    uint64_t lines;
    uint64_t at_ms;
};

#define PROGRESS_MS 5000 // between two lines that tell less than a hundredth more

static bool is_progress_news(struct told *told, const TyJobProgress *progress)
{
    uint64_t now_ms = ty_clock_mono_ms();
    if (!progress || progress->lines == told->lines)
        return false;
    bool is_step = progress->fraction >= told->fraction + 0.01 || progress->fraction < told->fraction;
    if (!is_step && told->at_ms && now_ms < told->at_ms + PROGRESS_MS)
        return false;
    *told = (struct told){.fraction = progress->fraction, .lines = progress->lines, .at_ms = now_ms};
    return true;
}

static void print_progress(const struct ty_cli *cli, const TyJobMetadata *job, const TyJobProgress *progress, FILE *out)
{
    char time[TY_WHEN_BYTES];
    int64_t at_us = progress->time ? ty_when_us(progress->time) : (int64_t)ty_clock_wall_us();
    if (cli->common->json) {
        json_t *object = ty_job_json(job);
        json_object_set_new(object, "progress", ty_job_progress_json(progress));
        json_dumpf(object, out, JSON_COMPACT);
        json_decref(object);
        fputc('\n', out);
    } else {
        TY_BUF(words);
        TY_BUF(safe);
        ty_job_progress_words(progress, &words);
        ty_text_add_safe(&safe, ty_buf_text(&words), words.len, false);
        fprintf(out, "%s  %s  %s\n", ty_when_utc(at_us, time), ty_job_status(job), ty_buf_text(&safe));
    }
    fflush(out);
}

static void look_at_progress(const struct ty_cli *cli, struct ty_rpc_client *client, const TyJobMetadata *job, struct told *told,
                             FILE *out)
{
    TyJobDetails *details = ty_job_details_fetch(client, job->id);
    if (details && is_progress_news(told, details->progress))
        print_progress(cli, job, details->progress, out);
    ty_job_details_free(details);
}

static void print_change(const struct ty_cli *cli, const TyJobMetadata *job, FILE *out)
{
    char time[TY_WHEN_BYTES];
    if (cli->common->json) {
        json_t *object = ty_job_json(job);
        json_dumpf(object, out, JSON_COMPACT);
        json_decref(object);
        fputc('\n', out);
    } else {
        bool use_color = out == cli->out ? cli->color : cli->notes_color;
        enum ty_color color = ty_job_color(job);
        int64_t at_us = job->last_modified ? ty_when_us(job->last_modified) : (int64_t)ty_clock_wall_us();
        fprintf(out, "%s  %s%s%s\n", ty_when_utc(at_us, time), ty_color_on(color, use_color), ty_job_status(job),
                ty_color_off(color, use_color));
    }
    fflush(out);
}

int ty_follow_status(const struct ty_cli *cli, struct ty_rpc_client *client, const char *id,
                     const struct ty_follow_options *options, FILE *out, TyJobAnswer **ret_answer, struct ty_err *err)
{
    struct ty_patience patience;
    int last_status = -1;
    struct told told = {0};
    ty_patience_init(&patience, options->patience_s * 1000, options->appear_s * 1000);
    for (;;) {
        TyJobAnswer *answer;
        bool is_news, is_change = false;
        if (ty_job_fetch(client, id, &answer, err) < 0) {
            if (ty_patience_on_error(&patience, ty_clock_mono_ms(), &is_news, err) < 0)
                return -(int)err->code;
            if (is_news)
                ty_cli_note(cli, "%s; trying again for %d s", err->message, (int)options->patience_s);
        } else {
            ty_patience_on_answer(&patience, &is_news);
            if (is_news)
                ty_cli_note(cli, "the responder is back");
            is_change = (int)answer->metadata->status != last_status;
            last_status = (int)answer->metadata->status;
            bool has_begun = last_status != TY_JOB_PENDING;
            if (out && has_begun && ty_job_is_terminal(answer->metadata)) // the last of it, ahead of the end
                look_at_progress(cli, client, answer->metadata, &told, out);
            if (is_change && out)
                print_change(cli, answer->metadata, out);
            if (out && has_begun && !ty_job_is_terminal(answer->metadata))
                look_at_progress(cli, client, answer->metadata, &told, out);
            if (ty_job_is_terminal(answer->metadata)) {
                *ret_answer = answer;
                return 0;
            }
            ty_job_free(answer);
        }
        ty_patience_pause(&patience, is_change);
    }
}
