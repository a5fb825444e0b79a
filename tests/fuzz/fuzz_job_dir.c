// worker/run: what a worker reads in an attempt's directory, where the attempt itself can write, and the list of stale stages. The
// first byte says which file the rest is.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/record.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"
#include "worker/run/job_dir.h"
#include "worker/run/stale_line.h"
#include "worker/run/verdict.h"

static char dir[] = "/tmp/ty-fuzz-XXXXXX";

static void leave(void)
{
    static const char *const names[] = {"ticket", "ticket.new", "file", "control"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path TY_FREE = ty_xasprintf("%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void enter(void)
{
    static bool is_in;
    if (is_in)
        return;
    is_in = true;
    REQUIRE(mkdtemp(dir));
    atexit(leave);
}

static void put(const char *name, const uint8_t *data, size_t size)
{
    char *path TY_FREE = ty_xasprintf("%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

static bool same(const char *a, const char *b)
{
    return !a || !b ? a == b : !strcmp(a, b);
}

// What was read is written as it can be read again.
static void read_ticket(const uint8_t *data, size_t size)
{
    struct ty_ticket ticket, again;
    struct ty_err err = {0};
    put("ticket", data, size);
    int rc = ty_ticket_read(dir, &ticket, &err);
    REQUIRE(rc == 0 || (rc == -TY_EDATALOSS && *err.message));
    if (rc < 0)
        return;
    REQUIRE(ticket.attempt && ticket.fence);
    REQUIRE(ty_ticket_write(&ticket, dir, &err) == 0 && ty_ticket_read(dir, &again, &err) == 0);
    REQUIRE(ty_id_equal(&ticket.id, &again.id) && !memcmp(&ticket.token, &again.token, sizeof ticket.token));
    REQUIRE(ticket.attempt == again.attempt && ticket.fence == again.fence && ticket.claimed_us == again.claimed_us);
    REQUIRE(same(ticket.worker, again.worker) && same(ticket.organization, again.organization) && same(ticket.model, again.model));
    REQUIRE(same(ticket.model_version, again.model_version) && same(ticket.container, again.container) && same(ticket.after, again.after));
    REQUIRE(!memcmp(ticket.retries, again.retries, sizeof ticket.retries));
    ty_ticket_done(&ticket);
    ty_ticket_done(&again);
}

static void judge(const struct ty_ending *ending, const char *tail, bool has_model, const struct ty_retries *retries)
{
    struct ty_verdict verdict;
    TY_BUF(message);
    TY_BUF(closing);
    ty_verdict_of(ending, tail, has_model, &verdict);
    ty_verdict_retry(ending, retries, &verdict);
    REQUIRE(memchr(verdict.text, 0, sizeof verdict.text) && ty_utf8_is_valid(verdict.text, strlen(verdict.text)));
    REQUIRE(!strchr(verdict.text, '\n') && ty_reason_name(verdict.reason));
    REQUIRE(has_model || !verdict.is_told || verdict.action != TY_FINISH_COMPLETED_MODEL);
    ty_verdict_message(&verdict, 1, tail, "", &message);
    ty_verdict_closing(&verdict, 1, &closing);
    REQUIRE(ty_utf8_is_valid((const char *)closing.data, closing.len));
}

static void read_ending(const struct ty_buf *text)
{
    struct ty_ending ending;
    struct ty_retries all, none = {{0}};
    memset(&all, 0xff, sizeof all);
    ty_ending_parse(text, &ending);
    REQUIRE(ending.outcome && *ending.outcome && ending.step && ending.message);
    judge(&ending, "", true, &all);
    judge(&ending, "the script left no files in its output directory\n", false, &none);
    ty_ending_done(&ending);
}

// "key=value" lines: collected, prepared and whatever is to come. The key is the input's first line.
static void read_field(const struct ty_buf *text)
{
    struct ty_err err;
    char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
    if (!end)
        return;
    char *key TY_FREE = strndup((const char *)text->data, (size_t)(end - (char *)text->data));
    struct ty_buf rest = {.data = (uint8_t *)end + 1, .len = text->len - (size_t)(end + 1 - (char *)text->data)};
    char *value TY_FREE = ty_job_dir_field(&rest, key);
    if (!value)
        return;
    REQUIRE(strlen(value) <= rest.len && !strchr(value, '\n'));
    // What becomes of a version in the job's record can be read.
    TY_BUF(patch);
    ty_patch_script_version(&patch, value);
    REQUIRE(ty_wire_check(&viam__app__mltraining__v1__training_job_metadata__descriptor, patch.data, patch.len, &err) == 0);
}

static void read_control(const uint8_t *data, size_t size)
{
    struct ty_exec_control *control = NULL;
    struct ty_err err = {0};
    put("control", data, size);
    int rc = ty_job_dir_map(dir, false, &control, &err);
    REQUIRE(rc == 0 || (rc == -TY_EPRECONDITION && !control));
    REQUIRE(rc < 0 || (size >= sizeof *control && control->format == TY_EXEC_FORMAT));
    ty_job_dir_unmap(control);
    REQUIRE(!ty_job_dir_is_held(dir));
}

static void read_stale(struct input input)
{
    char *text = input_text(&input, 400);
    struct ty_stale_line line;
    if (ty_stale_line_parse(text, &line)) {
        REQUIRE(memchr(line.name, 0, sizeof line.name) && strlen(line.name) > TY_ID_TEXT_BYTES && !strpbrk(line.name, "/. \n"));
        REQUIRE(line.kind == TY_STALE_STAGE || line.kind == TY_STALE_PARTIAL || line.kind == TY_STALE_MODEL);
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { TICKET, EXIT, FIELDS, CONTROL, STALE, FILES };
    struct ty_err err;
    TY_BUF(text);
    if (!size)
        return 0;
    enter();
    unsigned which = data[0] % FILES;
    data++;
    size--;
    if (which == EXIT || which == FIELDS) {
        put("file", data, size);
        if (ty_job_dir_read(dir, "file", &text, &err) < 0)
            REQUIRE(err.code == TY_EDATALOSS && size > TY_JOB_FILE_BYTES);
        else
            REQUIRE(text.len == size && (!size || !memcmp(text.data, data, size)));
    }
    switch (which) {
    case TICKET: read_ticket(data, size); break;
    case EXIT: read_ending(&text); break;
    case FIELDS: read_field(&text); break;
    case CONTROL: read_control(data, size); break;
    default: read_stale((struct input){data, size}); break;
    }
    return 0;
}
