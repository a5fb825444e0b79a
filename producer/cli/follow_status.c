#include <string.h>

#include "core/clock.h"
#include "producer/cli/follow.h"
#include "producer/cli/patience.h"
#include "producer/cli/when.h"

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
            if (is_change && out)
                print_change(cli, answer->metadata, out);
            if (ty_job_is_terminal(answer->metadata)) {
                *ret_answer = answer;
                return 0;
            }
            ty_job_free(answer);
        }
        ty_patience_pause(&patience, is_change);
    }
}
