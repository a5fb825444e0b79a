#include "producer/cli/cli.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/nearest.h"
#include "producer/cli/common.h"
#include "producer/cli/kafka_trouble.h"
#include "producer/cli/text.h"

static const struct ty_cli_verb *const verbs[] = {
    &ty_cli_submit, &ty_cli_submit_custom, &ty_cli_retry, &ty_cli_cancel, &ty_cli_delete, &ty_cli_get,
    &ty_cli_list,   &ty_cli_history, &ty_cli_logs,          &ty_cli_watch,  &ty_cli_containers, &ty_cli_topics,
    &ty_cli_pause, &ty_cli_resume, &ty_cli_limit, &ty_cli_rules, &ty_cli_keys, &ty_cli_dead_letters, &ty_cli_rebuild,
};
#define VERBS (sizeof verbs / sizeof *verbs)

static const struct {
    int code;
    unsigned needs; // enum ty_cli_need: of verbs with one of these only; 0: of all
    const char *meaning;
} exits[] = {
    {0, 0, "done"},
    {1, 0, "a fault of the program, the system or the stored data"},
    {2, 0, "the command line or a value in it is wrong"},
    {3, 0, "the responder or Kafka is away or did not answer in time"},
    {4, TY_CLI_NEEDS_SERVER, "there is no such job"},
    {4, TY_CLI_NEEDS_LETTERS, "there is no such letter"},
    {6, TY_CLI_NEEDS_STATE, "the job's state, or what is known of it, does not allow it"},
    {6, TY_CLI_NEEDS_TOPICS, "topics are missing or differ from what they must be"},
    {6, TY_CLI_NEEDS_LETTERS, "there is no topic of letters, or one cannot be replayed"},
    {4, TY_CLI_NEEDS_KEYS, "there is no such key"},
    {6, TY_CLI_NEEDS_RULES, "there is no topic of rules"},
    {6, TY_CLI_NEEDS_KEYS, "there is no topic of keys"},
    {7, 0, "not logged in or not allowed"},
    {8, 0, "a limit is reached; try again later"},
    {9, TY_CLI_NEEDS_SERVER, "the responder does not know this call"},
};

// ---- for the verbs ----

int ty_cli_connect(const struct ty_cli *cli, struct ty_rpc_client **ret_client, struct ty_err *err)
{
    struct ty_rpc_client_options options = {
        .server = cli->common->server, .token = cli->common->token, .key_id = cli->common->api_key_id,
        .key = cli->common->api_key, .timeout_ms = (int)cli->common->timeout_ms,
        .tls = cli->common->tls, .tls_ca = cli->common->tls_ca, .tls_cert = cli->common->tls_cert,
        .tls_key = cli->common->tls_key};
    return ty_rpc_client_new(&options, ret_client, err);
}

void ty_cli_put_json(const struct ty_cli *cli, json_t *document, bool compact)
{
    json_dumpf(document, cli->out, compact ? JSON_COMPACT : JSON_INDENT(2));
    fputc('\n', cli->out);
    json_decref(document);
}

static void put_line(FILE *out, const char *verb, const char *text, bool color)
{
    TY_BUF(safe);
    ty_text_add_safe(&safe, text, strlen(text), true);
    fprintf(out, "%strainyard%s%s:%s %s\n", ty_color_on(TY_COLOR_DIM, color), verb ? " " : "", verb ? verb : "",
            ty_color_off(TY_COLOR_DIM, color), ty_buf_text(&safe));
}

void ty_cli_note(const struct ty_cli *cli, const char *format, ...)
{
    char text[1536];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fflush(cli->out); // on a terminal both streams are one
    put_line(cli->notes, cli->verb->name, text, cli->notes_color);
}

int ty_cli_require(const char *flag, const char *text, struct ty_err *err)
{
    return text && *text ? 0 : ty_err_set(err, TY_EINVALID, "--%s is missing; see --help", flag);
}

// ---- help ----

static void put_exits(FILE *out, unsigned needs, bool by_job, bool has_log)
{
    fputs("\nExit codes\n", out);
    for (size_t i = 0; i < sizeof exits / sizeof *exits; i++)
        if (!exits[i].needs || exits[i].needs & needs)
            fprintf(out, "  %-4d%s\n", exits[i].code, exits[i].meaning);
    if (by_job)
        fprintf(out, "  %-4dthe job ended FAILED\n  %-4dthe job ended CANCELED\n", TY_EXIT_FAILED, TY_EXIT_CANCELED);
    if (has_log)
        fprintf(out, "  %-4dthe job has ended, and the end of its log did not come\n", TY_EXIT_LOG_CUT);
}

static void put_program_help(FILE *out)
{
    fputs("trainyard: submits machine-learning training jobs and follows them\n\n"
          "Usage: trainyard VERB [options] [arguments]\n\nVerbs\n", out);
    for (size_t i = 0; i < VERBS; i++)
        fprintf(out, "  %-15s%s\n", verbs[i]->name, verbs[i]->summary);
    fputs("\n"
          "  trainyard VERB --help    usage, options, examples and exit codes of a verb\n"
          "  trainyard --version      this program's version and those of its libraries\n\n"
          "Commands (submit, cancel, delete, pause, ...) go to Kafka: --kafka-brokers or TRAINYARD_KAFKA_BROKERS.\n"
          "Questions (get, list, logs, watch, containers) go to the responder: --server or TRAINYARD_SERVER.\n", out);
    put_exits(out, ~0u, true, true);
}

static void put_verb_help(const struct ty_cli_verb *verb, FILE *out)
{
    struct ty_cli_settings settings;
    ty_cli_settings_init(&settings, verb, true);
    fprintf(out, "Usage: trainyard %s [options]%s%s\n\n", verb->name, *verb->arguments ? " " : "", verb->arguments);
    ty_settings_help(&settings.table, out);
    fprintf(out, "\n%s\nExamples\n%s", verb->details, verb->examples);
    put_exits(out, verb->needs, verb->ends_by_job, verb->has_log);
    ty_cli_settings_done(&settings);
}

static void put_verb_markdown(const struct ty_cli_verb *verb, FILE *out)
{
    struct ty_cli_settings settings;
    ty_cli_settings_init(&settings, verb, true);
    ty_settings_markdown(&settings.table, out);
    ty_cli_settings_done(&settings);
}

static void put_program_markdown(FILE *out)
{
    for (size_t i = 0; i < VERBS; i++) {
        fprintf(out, "%s### `trainyard %s%s%s`\n\nIt %s.\n\n", i ? "\n" : "", verbs[i]->name,
                *verbs[i]->arguments ? " " : "", verbs[i]->arguments, verbs[i]->summary);
        put_verb_markdown(verbs[i], out);
    }
}

static void put_version(FILE *out)
{
    fprintf(out, "trainyard %s\nlibrdkafka %s\ngRPC core %s\nprotobuf-c %s\njansson %s\n", TY_VERSION, rd_kafka_version_str(),
            ty_rpc_client_version(), protobuf_c_version(), jansson_version_str());
}

// ---- running ----

static const char *verb_word(const void *context, size_t index)
{
    (void)context;
    return verbs[index]->name;
}

static const struct ty_cli_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERBS; i++)
        if (!strcmp(verbs[i]->name, name))
            return verbs[i];
    return NULL;
}

static bool wants_color(int setting, FILE *out)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (setting != TY_CLI_COLOR_AUTO)
        return setting == TY_CLI_COLOR_ALWAYS;
    return !(no_color && *no_color) && isatty(fileno(out)) && !(term && !strcmp(term, "dumb"));
}

static int complain(const char *verb, const struct ty_err *err)
{
    fflush(stdout);
    put_line(stderr, verb, err->message, false);
    return ty_code_exit(err->code);
}

static int check_arguments(const struct ty_cli *cli, struct ty_err *err)
{
    const struct ty_cli_verb *verb = cli->verb;
    for (int i = 0; i < cli->count; i++)
        if (cli->arguments[i][0] == '-' && cli->arguments[i][1])
            return ty_err_set(err, TY_EINVALID, "\"%.64s\": there is no such flag (flags begin with two dashes); see --help",
                              cli->arguments[i]);
    if (cli->count < verb->min_arguments)
        return ty_err_set(err, TY_EINVALID, "%s is missing; usage: trainyard %s [options] %s", verb->arguments, verb->name,
                          verb->arguments);
    if (cli->count > verb->max_arguments)
        return ty_err_set(err, TY_EINVALID, "\"%.64s\": unexpected argument; usage: trainyard %s [options]%s%s",
                          cli->arguments[verb->max_arguments], verb->name, *verb->arguments ? " " : "", verb->arguments);
    return 0;
}

// What could not be written must not look like success.
static int flush_output(struct ty_err *err)
{
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) != 0 || failed)
        return ty_err_errno(err, errno ? errno : EIO, "standard output");
    return 0;
}

static int run_verb(const struct ty_cli_verb *verb, int argc, char **argv)
{
    struct ty_cli_settings settings;
    struct ty_err err;
    char **arguments = NULL;
    int count = 0;
    void *options = ty_xcalloc(1, verb->options_bytes);
    // TLS inside Kafka's client writes to sockets without MSG_NOSIGNAL. The other verbs end quietly with their reader.
    if (verb->needs & TY_CLI_NEEDS_KAFKA)
        signal(SIGPIPE, SIG_IGN);
    ty_cli_settings_init(&settings, verb, false);
    int rc = ty_settings_load(&settings.table, options, argc, argv, &arguments, &count, &err);
    if (rc == 0) {
        const struct ty_cli_common *common = options;
        struct ty_cli cli = {.verb = verb, .common = common, .arguments = arguments, .count = count, .out = stdout,
                             .notes = stderr, .color = wants_color(common->color, stdout),
                             .notes_color = wants_color(common->color, stderr)};
        rc = check_arguments(&cli, &err);
        if (rc == 0)
            rc = verb->run(&cli, options, &err);
        if (rc >= 0 && flush_output(&err) < 0)
            rc = -(int)err.code;
    }
    int status = rc < 0 ? complain(verb->name, &err) : rc;
    free(arguments);
    ty_settings_done(&settings.table, options);
    ty_cli_settings_done(&settings);
    free(options);
    return status;
}

static int refuse_verb(const char *name)
{
    struct ty_err err;
    const char *near = ty_nearest(name, verb_word, NULL, VERBS);
    if (*name == '-')
        ty_err_set(&err, TY_EINVALID, "\"%.64s\": a verb comes first: trainyard VERB [options]", name);
    else if (near)
        ty_err_set(&err, TY_EINVALID, "\"%.64s\": there is no such verb; did you mean \"%s\"?", name, near);
    else
        ty_err_set(&err, TY_EINVALID, "\"%.64s\": there is no such verb; trainyard --help lists them", name);
    return complain(NULL, &err);
}

// The flags that print and end; -1 when there is none of them. A verb NULL: the program's.
static int run_information(const struct ty_cli_verb *verb, int argc, char **argv)
{
    struct ty_err err;
    if (ty_settings_has_flag(argc, argv, "--help") || ty_settings_has_flag(argc, argv, "-h"))
        verb ? put_verb_help(verb, stdout) : put_program_help(stdout);
    else if (ty_settings_has_flag(argc, argv, "--help-markdown"))
        verb ? put_verb_markdown(verb, stdout) : put_program_markdown(stdout);
    else if (ty_settings_has_flag(argc, argv, "--version"))
        put_version(stdout);
    else
        return -1;
    return flush_output(&err) < 0 ? complain(verb ? verb->name : NULL, &err) : 0;
}

static int start_verb(int argc, char **argv)
{
    const struct ty_cli_verb *verb = find_verb(argv[0]);
    if (!verb)
        return refuse_verb(argv[0]);
    int status = run_information(verb, argc, argv);
    return status >= 0 ? status : run_verb(verb, argc, argv);
}

int ty_cli_main(int argc, char **argv)
{
    char *help[] = {argc > 2 ? argv[2] : NULL, (char *)"--help", NULL};
    setlocale(LC_CTYPE, "C.UTF-8"); // for the widths of characters only; all text is UTF-8
    ty_kafka_trouble_init();
    if (argc < 2) {
        put_program_help(stderr);
        return ty_code_exit(TY_EINVALID);
    }
    if (!strcmp(argv[1], "help"))
        return argc == 2 ? run_information(NULL, 2, help) : start_verb(2, help);
    int status = *argv[1] == '-' ? run_information(NULL, 2, argv) : -1;
    return status >= 0 ? status : start_verb(argc - 1, argv + 1);
}
