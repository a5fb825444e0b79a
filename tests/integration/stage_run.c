#include "tests/integration/stage_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <archive.h>
#include <archive_entry.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM TY_BINARY_DIR "/bin/trainyard-stage"

static void make_folders(char *path)
{
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            fail_msg("%s: %s", path, strerror(errno));
        *at = '/';
    }
}

void stage_run_write(struct stage_run *run, const char *path, const char *text)
{
    char whole[PATH_MAX];
    snprintf(whole, sizeof whole, "%s/%s%s", run->root, path, text ? "" : "/");
    make_folders(whole);
    if (!text)
        return;
    FILE *file = fopen(whole, "we");
    if (!file)
        fail_msg("%s: %s", whole, strerror(errno));
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

void stage_run_init(struct stage_run *run)
{
    *run = (struct stage_run){.root = "/tmp/ty-stage-XXXXXX"};
    if (!mkdtemp(run->root))
        fail_msg("%s: %s", run->root, strerror(errno));
    snprintf(run->store, sizeof run->store, "%s/store", run->root);
    snprintf(run->job_dir, sizeof run->job_dir, "%s/jobs/" STAGE_JOB "-1", run->root);
    stage_run_write(run, "store/scripts", NULL);
    stage_run_write(run, "store/models", NULL);
    stage_run_write(run, "store/datasets/digits/dataset.jsonl", "{\"image_path\": \"a.png\"}\n{\"image_path\": \"b.png\"}\n");
    stage_run_write(run, "jobs/" STAGE_JOB "-1/output", NULL);
    stage_run_write(run, "outside", "secret");
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

void stage_run_done(struct stage_run *run)
{
    nftw(run->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// ---- verbs ----

static size_t usual_options(const struct stage_run *run, const char *verb, const char **argv)
{
    const char *all[] = {"--store", run->store, "--organization", "acme", "--model", "digits", "--model-version", "1"};
    const char *prepare[] = {"--job-dir", run->job_dir, "--dataset", "digits", "--script", "digits:trainer"};
    const char *collect[] = {"--job-dir", run->job_dir, "--job", STAGE_JOB, "--fence", "7"};
    const char *link[] = {"--stage", ".staged/" STAGE_JOB "-7"};
    const char **more = !strcmp(verb, "prepare") ? prepare : !strcmp(verb, "collect") ? collect : link;
    size_t count = !strcmp(verb, "link") ? 2 : 6;
    if (!strcmp(verb, "stale") || !strcmp(verb, "discard")) { // of no one model
        memcpy(argv, all, 2 * sizeof *all);
        return 2;
    }
    memcpy(argv, all, sizeof all);
    memcpy(argv + 8, more, count * sizeof *more);
    return 8 + count;
}

int stage_run_verb(struct stage_run *run, const char *verb, const char *const *options)
{
    const char *argv[40] = {"trainyard-stage", verb};
    size_t count = 2 + usual_options(run, verb, argv + 2), len = 0;
    int ends[2], status;
    for (; *options; options++)
        argv[count++] = *options;
    if (pipe2(ends, O_CLOEXEC) < 0)
        fail_msg("pipe: %s", strerror(errno));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        dup2(strcmp(verb, "stale") ? open("/dev/null", O_RDWR | O_CLOEXEC) : ends[1], STDOUT_FILENO);
        execv(PROGRAM, (char *const *)(uintptr_t)argv);
        _exit(99);
    }
    close(ends[1]);
    ssize_t got;
    while ((got = read(ends[0], run->said + len, sizeof run->said - 1 - len)) > 0)
        len += (size_t)got;
    run->said[len] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// ---- looking ----

const char *stage_run_read(struct stage_run *run, const char *path)
{
    static char text[65536];
    char whole[PATH_MAX];
    snprintf(whole, sizeof whole, "%s/%s", run->root, path);
    FILE *file = fopen(whole, "re");
    if (!file)
        return NULL;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

int stage_run_exists(struct stage_run *run, const char *path)
{
    char whole[PATH_MAX];
    struct stat info;
    snprintf(whole, sizeof whole, "%s/%s", run->root, path);
    return lstat(whole, &info) == 0;
}

const char *stage_run_link(struct stage_run *run, const char *path)
{
    static char target[PATH_MAX];
    char whole[PATH_MAX];
    snprintf(whole, sizeof whole, "%s/%s", run->root, path);
    ssize_t len = readlink(whole, target, sizeof target - 1);
    if (len < 0)
        return NULL;
    target[len] = 0;
    return target;
}

// ---- archives ----

static void add_entry(struct archive *archive, const struct stage_entry *from)
{
    struct archive_entry *entry = archive_entry_new();
    size_t len = from->kind == 'f' ? strlen(from->text) : 0;
    archive_entry_set_pathname(entry, from->name);
    archive_entry_set_perm(entry, from->kind == 'd' ? 0755 : 0644);
    archive_entry_set_filetype(entry, from->kind == 'd'   ? AE_IFDIR
                                      : from->kind == 's' ? AE_IFLNK
                                      : from->kind == 'c' ? AE_IFCHR
                                      : from->kind == 'p' ? AE_IFIFO
                                                          : AE_IFREG);
    archive_entry_set_size(entry, (la_int64_t)len);
    if (from->kind == 's')
        archive_entry_set_symlink(entry, from->text);
    if (from->kind == 'h')
        archive_entry_set_hardlink(entry, from->text);
    if (archive_write_header(archive, entry) < ARCHIVE_OK || archive_write_data(archive, from->text, len) < 0)
        fail_msg("%s: %s", from->name, archive_error_string(archive));
    archive_entry_free(entry);
}

void stage_run_archive(struct stage_run *run, const struct stage_entry *entries)
{
    char path[PATH_MAX];
    stage_run_write(run, "store/scripts/digits/trainer", NULL);
    snprintf(path, sizeof path, "%s/scripts/digits/trainer/1.0.tar.gz", run->store);
    struct archive *archive = archive_write_new();
    archive_write_add_filter_gzip(archive);
    archive_write_set_format_pax_restricted(archive);
    if (archive_write_open_filename(archive, path) != ARCHIVE_OK)
        fail_msg("%s: %s", path, archive_error_string(archive));
    for (; entries->name; entries++)
        add_entry(archive, entries);
    assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
    archive_write_free(archive);
}
