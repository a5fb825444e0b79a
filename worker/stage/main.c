// trainyard-stage VERB --option VALUE...: see stage.h.
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/buf.h"
#include "worker/stage/stage.h"

enum {
    STORE,
    JOB_DIR,
    DATASET,
    SCRIPT,
    SCRIPT_VERSION,
    ORGANIZATION,
    MODEL,
    MODEL_VERSION,
    JOB,
    FENCE,
    STAGE,
    OLDER_THAN_S,
    MODELS_OLDER_THAN_S,
    AFTER,
    OPTIONS
};

#define BIT(option) (1u << (option))
#define THE_MODEL (BIT(STORE) | BIT(ORGANIZATION) | BIT(MODEL) | BIT(MODEL_VERSION))

static const struct {
    const char *name;
    size_t offset;
} rows[OPTIONS] = {
    [STORE] = {"store", offsetof(struct ty_stage_options, store)},
    [JOB_DIR] = {"job-dir", offsetof(struct ty_stage_options, job_dir)},
    [DATASET] = {"dataset", offsetof(struct ty_stage_options, dataset)},
    [SCRIPT] = {"script", offsetof(struct ty_stage_options, script)},
    [SCRIPT_VERSION] = {"script-version", offsetof(struct ty_stage_options, script_version)},
    [ORGANIZATION] = {"organization", offsetof(struct ty_stage_options, organization)},
    [MODEL] = {"model", offsetof(struct ty_stage_options, model)},
    [MODEL_VERSION] = {"model-version", offsetof(struct ty_stage_options, model_version)},
    [JOB] = {"job", offsetof(struct ty_stage_options, job)},
    [FENCE] = {"fence", offsetof(struct ty_stage_options, fence)},
    [STAGE] = {"stage", offsetof(struct ty_stage_options, stage)},
    [OLDER_THAN_S] = {"older-than-s", offsetof(struct ty_stage_options, older_than_s)},
    [MODELS_OLDER_THAN_S] = {"models-older-than-s", offsetof(struct ty_stage_options, models_older_than_s)},
    [AFTER] = {"after", offsetof(struct ty_stage_options, after)},
};

static const struct verb {
    const char *name;
    unsigned required, allowed;
    int (*run)(const struct ty_stage_options *options, struct ty_err *err);
} verbs[] = {
    {"prepare", THE_MODEL | BIT(JOB_DIR) | BIT(DATASET) | BIT(SCRIPT), BIT(SCRIPT_VERSION),
     ty_stage_prepare},
    {"collect", THE_MODEL | BIT(JOB_DIR) | BIT(JOB) | BIT(FENCE), 0, ty_stage_collect},
    {"link", THE_MODEL | BIT(STAGE), 0, ty_stage_link},
    {"stale", BIT(STORE) | BIT(OLDER_THAN_S), BIT(MODELS_OLDER_THAN_S) | BIT(AFTER), ty_stage_stale},
    {"discard", BIT(STORE) | BIT(STAGE), 0, ty_stage_discard},
};

static int usage(FILE *out, int code)
{
    fputs("usage: trainyard-stage VERB --OPTION VALUE...\n"
          "  prepare --store DIR --job-dir DIR --dataset ID --script PREFIX:NAME [--script-version "
          "V]\n"
          "          --organization ID --model NAME --model-version V\n"
          "      checks the data set and brings the script into DIR/script\n"
          "  collect --store DIR --job-dir DIR --job ID --fence N --organization ID --model NAME "
          "--model-version V\n"
          "      copies DIR/output into the store's staging area\n"
          "  link    --store DIR --stage .staged/JOB-FENCE --organization ID --model NAME "
          "--model-version V\n"
          "      gives a staged model its public name\n"
          "  stale   --store DIR --older-than-s N [--models-older-than-s N] [--after NAME]\n"
          "      lists what stands in the staging area for so long\n"
          "  discard --store DIR --stage .staged/JOB-FENCE\n"
          "      removes a stage and what leads there\n"
          "Exit status: 0 done, 1 refused because of what it was given, 2 wrong usage, 3 the store "
          "or a disk failed.\n",
          out);
    return code;
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

static int parse(const struct verb *verb, int argc, char **argv, struct ty_stage_options *options)
{
    struct option known[OPTIONS + 1] = {0};
    unsigned given = 0;
    int option;
    for (int i = 0; i < OPTIONS; i++)
        known[i] = (struct option){rows[i].name, required_argument, NULL, i};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option >= OPTIONS)
            return -1;
        given |= BIT(option);
        *(const char **)((char *)options + rows[option].offset) = optarg;
    }
    for (int i = 0; i < OPTIONS; i++) {
        if (verb->required & ~given & BIT(i))
            return fprintf(stderr, "trainyard-stage: %s needs --%s\n", verb->name, rows[i].name),
                   -1;
        if (given & ~(verb->required | verb->allowed) & BIT(i))
            return fprintf(stderr, "trainyard-stage: %s does not take --%s\n", verb->name,
                           rows[i].name),
                   -1;
    }
    if (optind < argc)
        return fprintf(stderr, "trainyard-stage: unexpected \"%s\"\n", argv[optind]), -1;
    return 0;
}

// A directory as an absolute path without links, owned. Missing is the store's trouble, not the
// job's.
static int resolve(const char *label, const char *path, char **ret_path, struct ty_err *err)
{
    if (!path)
        return 0;
    *ret_path = realpath(path, NULL);
    return *ret_path ? 0 : ty_err_errno(err, errno, "%s %s", label, path);
}

// One line without control characters: names of files and of versions may stand in it.
static void tell(char *message)
{
    for (char *at = message; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    fprintf(stderr, "%s\n", message);
}

static int run(const struct verb *verb, struct ty_stage_options options)
{
    struct ty_err err = {0};
    char *store TY_FREE = NULL, *job_dir TY_FREE = NULL;
    if (resolve("store", options.store, &store, &err) < 0 ||
        resolve("job-dir", options.job_dir, &job_dir, &err) < 0) {
        tell(err.message);
        return 3;
    }
    options.store = store;
    options.job_dir = job_dir;
    if (verb->run(&options, &err) == 0)
        return 0;
    tell(err.message);
    return err.code == TY_ESYSTEM ? 3 : 1;
}

int main(int argc, char **argv)
{
    struct ty_stage_options options = {0};
    if (argc == 2 && !strcmp(argv[1], "--help"))
        return usage(stdout, 0);
    if (argc == 2 && !strcmp(argv[1], "--version"))
        return puts("trainyard-stage " TY_VERSION) < 0;
    const struct verb *verb = argc > 1 ? find_verb(argv[1]) : NULL;
    if (!verb || parse(verb, argc - 1, argv + 1, &options) < 0)
        return usage(stderr, 2);
    // The names in archives are UTF-8 whatever the environment says; files and folders are for all
    // to read.
    setlocale(LC_CTYPE, "C.UTF-8");
    umask(022);
    return run(verb, options);
}
