// trainyard dead-letters replay.
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "producer/cli/letters.h"

#define NAMED 50 // of letters that were not sent; of more only how many

struct replay {
    struct ty_cli *cli;
    struct ty_letters_filter filter;
    bool is_filtered, dry_run;
    struct ty_replayer *replayer;
    pthread_mutex_t lock; // the rest; reports come on another thread
    json_t *sent, *left;  // left: those that were not, each with its reason
    size_t sent_count, left_count;
    bool broken;          // Kafka refused one: whatever follows would most likely end in the same, seconds later each
    struct ty_err first;
};

// What was not sent; under lock.
static void leave(struct replay *replay, const struct ty_place *place, const struct ty_err *err, bool unknown)
{
    char text[TY_PLACE_BYTES];
    ty_place_format(place, text);
    if (!replay->left_count++) {
        replay->first = *err;
        ty_err_prefix(&replay->first, "letter %s", text);
    }
    if (replay->cli->common->json)
        json_array_append_new(replay->left, json_pack("{s:s, s:s, s:b}", "letter", text, "reason", err->message, "unknown", unknown));
    else if (replay->left_count <= NAMED)
        ty_cli_note(replay->cli, "letter %s: not sent%s: %s", text, unknown ? ", or nobody can say" : "", err->message);
}

static void count_sent(struct replay *replay, const struct ty_place *place, const char *topic, const struct ty_place *where)
{
    char text[TY_PLACE_BYTES];
    replay->sent_count++;
    if (!replay->cli->common->json)
        return;
    json_t *sent = json_pack("{s:s, s:s}", "letter", ty_place_format(place, text), "topic", topic);
    if (where)
        json_object_update_new(sent, json_pack("{s:i, s:I}", "partition", (int)where->partition, "offset", (json_int_t)where->offset));
    json_array_append_new(replay->sent, sent);
}

static void on_replayed(void *context, const struct ty_place *letter, const char *topic, const struct ty_place *where, bool unknown,
                        const struct ty_err *err)
{
    struct replay *replay = context;
    pthread_mutex_lock(&replay->lock);
    if (err) {
        leave(replay, letter, err, unknown);
        replay->broken = true;
    } else {
        count_sent(replay, letter, topic, where);
    }
    pthread_mutex_unlock(&replay->lock);
}

static void refuse(struct replay *replay, const struct ty_place *place, const struct ty_err *err)
{
    pthread_mutex_lock(&replay->lock);
    leave(replay, place, err, false);
    pthread_mutex_unlock(&replay->lock);
}

static int send_letter(void *context, const struct ty_topic_record *letter, struct ty_err *err)
{
    struct replay *replay = context;
    struct ty_dead_letter_view view;
    (void)err;
    ty_dead_letter_read(letter, replay->cli->common->topic_prefix, &view);
    if (replay->is_filtered && !ty_letters_filter_allows(&replay->filter, letter, &view))
        return 0;
    struct ty_err refusal;
    if (ty_dead_letter_check(&view, replay->cli->common->topic_prefix, &refusal) < 0) {
        refuse(replay, &letter->place, &refusal);
        return 0;
    }
    pthread_mutex_lock(&replay->lock);
    bool broken = replay->broken;
    if (replay->dry_run)
        count_sent(replay, &letter->place, view.topic, NULL);
    pthread_mutex_unlock(&replay->lock);
    if (replay->dry_run)
        return 0;
    if (broken) {
        ty_err_set(&refusal, TY_EUNAVAILABLE, "not tried, since one before it failed");
        refuse(replay, &letter->place, &refusal);
    } else if (ty_replayer_send(replay->replayer, letter, &view, &refusal) < 0) {
        refuse(replay, &letter->place, &refusal);
    }
    return 0;
}

// ---- the whole ----

static int read_all(struct replay *replay, struct ty_topic_reader *reader, const struct ty_place *places, size_t count,
                    struct ty_err *err)
{
    if (replay->is_filtered)
        return ty_topic_reader_each(reader, replay->filter.since_us, send_letter, replay, err);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (ty_topic_reader_at(reader, &places[i], send_letter, replay, err) < 0) {
            if (err->code == TY_ENOTFOUND)
                refuse(replay, &places[i], err);
            else
                rc = -(int)err->code;
        }
    return rc;
}

static void tell(struct replay *replay)
{
    struct ty_cli *cli = replay->cli;
    if (cli->common->json)
        ty_cli_put_json(cli, json_pack("{s:O, s:O, s:b}", "replayed", replay->sent, "not_replayed", replay->left, "dry_run",
                                       replay->dry_run), false);
    else
        ty_cli_note(cli, replay->dry_run ? "%zu letter%s would be replayed" : "%zu letter%s replayed", replay->sent_count,
                    replay->sent_count == 1 ? "" : "s");
    if (!cli->common->json && replay->left_count > NAMED)
        ty_cli_note(cli, "%zu more were not sent, and are not named", replay->left_count - NAMED);
}

static int run(struct replay *replay, const struct ty_place *places, size_t count, struct ty_err *err)
{
    struct ty_kafka_options kafka = ty_letters_kafka(replay->cli);
    struct ty_topic_reader *reader;
    if (ty_letters_connect(replay->cli, &reader, err) < 0)
        return -(int)err->code;
    int rc = replay->dry_run ? 0 : ty_replayer_new(&kafka, on_replayed, replay, &replay->replayer, err);
    if (rc == 0)
        rc = read_all(replay, reader, places, count, err);
    if (replay->replayer)
        ty_replayer_flush(replay->replayer);
    ty_replayer_free(replay->replayer);
    ty_topic_reader_close(reader);
    // Also after an error: these were sent.
    tell(replay);
    if (rc < 0) {
        ty_err_prefix(err, "letters behind it may fit too, and were not sent");
        return ty_letters_trouble(replay->cli, err);
    }
    if (!replay->left_count)
        return 0;
    *err = replay->first;
    if (replay->left_count > 1)
        ty_err_prefix(err, "%zu letters %s not sent; the first", replay->left_count, replay->dry_run ? "would be" : "were");
    return ty_letters_trouble(replay->cli, err);
}

int ty_letters_replay(struct ty_cli *cli, const struct ty_letters_options *options, const struct ty_place *places, size_t count,
                      struct ty_err *err)
{
    struct replay replay = {.cli = cli, .is_filtered = options->filters != NULL, .dry_run = options->dry_run,
                            .lock = PTHREAD_MUTEX_INITIALIZER};
    if (replay.is_filtered && count)
        return ty_err_set(err, TY_EINVALID, "--filter stands in place of letters: give one or the other");
    if (!replay.is_filtered && !count)
        return ty_err_set(err, TY_EINVALID, "PARTITION/OFFSET... or --filter is missing; usage: trainyard dead-letters replay");
    if (replay.is_filtered && options->dry_run == options->yes)
        return ty_err_set(err, TY_EINVALID, "--filter: give --dry-run to see which letters it fits, or --yes to replay them");
    if (!replay.is_filtered && options->yes)
        return ty_err_set(err, TY_EINVALID, "--yes goes with --filter");
    if (ty_letters_filter_parse(options->filters, ty_clock_wall_us(), &replay.filter, err) < 0)
        return -(int)err->code;
    replay.sent = json_array();
    replay.left = json_array();
    int rc = run(&replay, places, count, err);
    json_decref(replay.sent);
    json_decref(replay.left);
    return rc;
}
