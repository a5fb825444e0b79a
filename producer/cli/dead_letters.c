// trainyard dead-letters: what became of the records that no store could take.
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "producer/cli/letters.h"

#define AT(member) offsetof(struct ty_letters_options, member)

static const struct ty_setting rows[] = {
    {.key = "filter", .type = TY_SETTING_LIST, .offset = AT(filters), .unit = "",
     .help = "list and replay: the letters that this fits, as KEY=VALUE; may be repeated."},
    {.key = "limit", .type = TY_SETTING_INT, .offset = AT(limit), .min = 1, .max = 100000, .fallback = "1000", .unit = "",
     .help = "list: how many letters at most; the newest."},
    {.key = "dry-run", .type = TY_SETTING_BOOL, .offset = AT(dry_run), .fallback = "false", .unit = "",
     .help = "replay: says what would be replayed, and publishes nothing."},
    {.key = "yes", .type = TY_SETTING_BOOL, .offset = AT(yes), .fallback = "false", .unit = "",
     .help = "replay: replays what --filter fits; without it or --dry-run a filter is refused."},
};

static int refuse_options(const struct ty_letters_options *options, bool takes_filter, const char *action, struct ty_err *err)
{
    if (options->filters && !takes_filter)
        return ty_err_set(err, TY_EINVALID, "--filter does not go with %s", action);
    if (options->dry_run || options->yes)
        return ty_err_set(err, TY_EINVALID, "--dry-run and --yes go with replay");
    return 0;
}

static int run_action(struct ty_cli *cli, const struct ty_letters_options *options, const struct ty_place *places, size_t count,
                      struct ty_err *err)
{
    const char *action = cli->arguments[0];
    if (!strcmp(action, "replay"))
        return ty_letters_replay(cli, options, places, count, err);
    if (!strcmp(action, "show")) {
        if (refuse_options(options, false, action, err) < 0)
            return -(int)err->code;
        if (count != 1)
            return ty_err_set(err, TY_EINVALID, "show takes one PARTITION/OFFSET");
        return ty_letters_show(cli, places, err);
    }
    if (strcmp(action, "list") != 0)
        return ty_err_set(err, TY_EINVALID, "\"%.64s\": neither list nor show nor replay", action);
    if (count)
        return ty_err_set(err, TY_EINVALID, "\"%.64s\": list takes no letters; see show", cli->arguments[1]);
    return refuse_options(options, true, action, err) < 0 ? -(int)err->code : ty_letters_list(cli, options, err);
}

static int run(struct ty_cli *cli, const void *given, struct ty_err *err)
{
    size_t count = (size_t)cli->count - 1;
    struct ty_place *places TY_FREE = ty_xcalloc(count + 1, sizeof *places);
    for (size_t i = 0; i < count; i++)
        if (ty_place_parse(cli->arguments[i + 1], &places[i], err) < 0)
            return -(int)err->code;
    return run_action(cli, given, places, count, err);
}

const struct ty_cli_verb ty_cli_dead_letters = {
    .name = "dead-letters",
    .summary = "lists, shows and replays the commands that could not be applied",
    .arguments = "list|show|replay [PARTITION/OFFSET...]",
    .min_arguments = 1,
    .max_arguments = INT_MAX,
    .needs = TY_CLI_NEEDS_KAFKA | TY_CLI_TAKES_TIME | TY_CLI_NEEDS_LETTERS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .options_bytes = sizeof(struct ty_letters_options),
    .details =
        "A letter is named by its place in the topic dead-letter, PARTITION/OFFSET. What is there when the program starts is read\n"
        "from the beginning (or from since on), without a group: reading takes nothing away and commits nothing.\n"
        "list prints a line for each letter. show prints one whole: headers, and the command in it or its bytes. replay publishes\n"
        "letters again to the topics that they came from, key, value and headers as they were (and trainyard-replay-of, the\n"
        "letter's place), and returns when Kafka has all of them. The letters stay. What cannot be used this time either becomes\n"
        "another letter; commands may be repeated, so a second replay does nothing more. A submit that was refused for good has\n"
        "left a FAILED job under its id, which stands: submit it anew. A stub, of which only the beginning was kept, and a letter\n"
        "from another topic are not replayed; each letter that was not sent is named, and the exit code is not 0 then.\n"
        "The keys of --filter are:\n" TY_LETTERS_KEYS_HELP
        "With --json list has {\"letters\": [...], \"fitting\": how many fit, \"examined\"}; a letter has the fields\n" TY_LETTERS_JSON_HELP
        "  show has them of the one letter, and replayable, headers [{name, value}], key_hex, value_hex, message (the\n"
        "  JobCommand). replay has {\"replayed\": [{\"letter\", \"topic\", \"partition\", \"offset\"}], \"not_replayed\":\n"
        "  [{\"letter\", \"reason\", \"unknown\": it may have been written}], \"dry_run\"}.\n",
    .examples = "  trainyard dead-letters list --filter since=1h\n"
                "  trainyard dead-letters show 0/17\n"
                "  trainyard dead-letters replay 0/17 0/18\n"
                "  trainyard dead-letters replay --filter 'reason=format_version:*' --filter stub=no --dry-run\n"
                "  trainyard dead-letters replay --filter 'reason=format_version:*' --filter stub=no --yes\n",
    .run = run,
};
