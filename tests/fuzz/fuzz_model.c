// worker/stage: what a job left as its model, and what stands in "prepared" and in "collected" beside it, where it can write. An input is
// lines that make its directory, see make_line. Whatever it is, a model is in the store whole or not at all, what is said of it is
// true, and nothing else is touched.
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"
#include "worker/run/job_dir.h"
#include "worker/stage/stage.h"
#include "worker/stage/store.h"

#define JOB "6f1c0f3e-6f0e-5a86-9d0b-0d6f4a1f3c55"

static char top[] = "/dev/shm/ty-fuzz-XXXXXX";
static char job_dir[64], store[64];

// Paths may be longer than the kernel takes in one piece.
static void empty(const char *name)
{
    struct ty_err err;
    TY_FD(fd);
    REQUIRE(ty_store_open_dir(top, &fd, &err) == 0 && ty_store_remove(fd, name, &err) == 0);
}

static void leave(void)
{
    rmdir(top);
}

static unsigned count_entries(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    REQUIRE(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2; // the two dots
}

static void put(int dir_fd, const char *name, const char *text)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
    if (fd < 0)
        return; // no name of a file, or taken by something else
    REQUIRE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

// ---- the job's directory ----

// A letter, a name, and behind a tab more of it. f: a file with these bytes; x: one to execute; l: a link with this target; d: a
// folder, and what follows is in it; u: back in the folder above; n: a pipe; p: a line of "prepared".
static void make_line(char *line, int *dir_fd, unsigned *depth)
{
    char letter = *line ? *line++ : 0, *rest = strchr(line, '\t');
    if (letter == 'p') {
        int job_fd = open(job_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        put(job_fd, "prepared", line);
        put(job_fd, "prepared", "\n");
        close(job_fd);
        return;
    }
    if (rest)
        *rest++ = 0;
    rest = rest ? rest : line + strlen(line);
    bool is_up = letter == 'u' && *depth;
    if (!is_up && (strchr(line, '/') || !strcmp(line, "..")))
        return; // nothing is made outside
    if (letter == 'f' || letter == 'x')
        put(*dir_fd, line, rest);
    if (letter == 'x')
        fchmodat(*dir_fd, line, 0755, 0);
    if (letter == 'l' && symlinkat(rest, *dir_fd, line) < 0)
        return;
    if (letter == 'n')
        mkfifoat(*dir_fd, line, 0644);
    if (letter != 'd' && !is_up)
        return;
    if (letter == 'd')
        mkdirat(*dir_fd, line, 0755);
    int next = openat(*dir_fd, is_up ? ".." : line, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0)
        return;
    *depth = is_up ? *depth - 1 : *depth + (strcmp(line, ".") != 0);
    close(*dir_fd);
    *dir_fd = next;
}

static void make(struct input input)
{
    unsigned depth = 0;
    char *text = input_text(&input, 65536), *at = text;
    char path[96];
    snprintf(path, sizeof path, "%s/output", job_dir);
    REQUIRE(mkdir(job_dir, 0755) == 0 && mkdir(path, 0755) == 0);
    int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(dir_fd >= 0);
    for (char *line; (line = strsep(&at, "\n"));)
        make_line(line, &dir_fd, &depth);
    close(dir_fd);
    free(text);
}

// ---- what came of it ----

static void check_file(const char *stage, json_t *file, json_int_t *sum)
{
    struct stat st;
    const char *name = json_string_value(json_object_get(file, "path")), *digest = json_string_value(json_object_get(file, "sha256"));
    REQUIRE(name && digest && strlen(digest) == 64 && *name != '/');
    char *path TY_FREE = ty_xasprintf("%s/%s", stage, name);
    json_int_t bytes = json_integer_value(json_object_get(file, "bytes"));
    *sum += bytes;
    if (strlen(path) < PATH_MAX) // what is longer cannot be had by one path
        REQUIRE(lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == bytes);
}

// What the worker reads, what the manifest says and what stands there are one.
static void check_model(void)
{
    TY_BUF(text);
    struct ty_err err;
    char path[192];
    json_int_t sum = 0;
    REQUIRE(ty_job_dir_read(job_dir, "collected", &text, &err) == 0);
    char *stage TY_FREE = ty_job_dir_field(&text, "stage"), *digest TY_FREE = ty_job_dir_field(&text, "digest");
    char *files TY_FREE = ty_job_dir_field(&text, "files");
    REQUIRE(stage && !strcmp(stage, ".staged/" JOB "-7") && digest && files);
    snprintf(path, sizeof path, "%s/models/%s.manifest.json", store, stage);
    json_t *manifest = json_load_file(path, JSON_REJECT_DUPLICATES, NULL), *list = json_object_get(manifest, "files");
    REQUIRE(manifest && !strcmp(json_string_value(json_object_get(manifest, "digest")), digest));
    REQUIRE(json_array_size(list) == strtoul(files, NULL, 10) && json_array_size(list) > 0);
    snprintf(path, sizeof path, "%s/models/%s", store, stage);
    for (size_t i = 0; i < json_array_size(list); i++)
        check_file(path, json_array_get(list, i), &sum);
    REQUIRE(json_integer_value(json_object_get(manifest, "bytes")) == sum);
    json_decref(manifest);
}

static void check_err(int rc, const struct ty_err *err)
{
    REQUIRE(rc == 0 || (rc == -(int)err->code && *err->message && ty_utf8_is_valid(err->message, strlen(err->message))));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ty_err err = {0};
    struct ty_stage_options options = {.store = store, .job_dir = job_dir, .organization = "org", .model = "model", .model_version = "1",
                                       .job = JOB, .fence = "7"};
    char staged[96];
    if (!*store) {
        REQUIRE(mkdtemp(top));
        atexit(leave);
        snprintf(store, sizeof store, "%s/store", top);
        snprintf(job_dir, sizeof job_dir, "%s/job", top);
    }
    // The first line is what the worker is told of the stage afterwards; empty: what "collected" says.
    struct input input = {data, size};
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    char *stage = input_text(&input, end ? (size_t)(end - data) : 0);
    input_byte(&input);
    REQUIRE(mkdir(store, 0755) == 0);
    make(input);
    snprintf(staged, sizeof staged, "%s/models/.staged", store);
    int rc = ty_stage_collect(&options, &err);
    check_err(rc, &err);
    if (rc == 0)
        check_model();
    REQUIRE(count_entries(staged) == (rc == 0 ? 2u : 0u)); // with its manifest, or nothing
    bool is_its = !*stage || !strcmp(stage, ".staged/" JOB "-7");
    options.stage = *stage ? stage : ".staged/" JOB "-7";
    int link_rc = ty_stage_link(&options, &err);
    check_err(link_rc, &err);
    REQUIRE((link_rc == 0) == (rc == 0 && is_its));
    int discard_rc = ty_stage_discard(&options, &err);
    check_err(discard_rc, &err);
    REQUIRE(count_entries(staged) == (rc == 0 && !(discard_rc == 0 && is_its) ? 2u : 0u));
    REQUIRE(count_entries(top) == 2);
    free(stage);
    empty("store");
    empty("job");
    return 0;
}
