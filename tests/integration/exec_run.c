#include "tests/integration/exec_run.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "worker/exec/spool.h"

#define PROGRAM TY_BINARY_DIR "/bin/trainyard-exec"
#define PATIENCE_MS 60000

static void write_plan(const struct exec_run *run, const char *const *entries)
{
    char path[128];
    snprintf(path, sizeof path, "%s/plan", run->dir);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fwrite("format=1", 1, sizeof "format=1", file);
    for (; *entries; entries++)
        fwrite(*entries, 1, strlen(*entries) + 1, file);
    assert_int_equal(fclose(file), 0);
}

static void write_control(struct exec_run *run)
{
    char path[128];
    struct ty_exec_control control = {.format = TY_EXEC_FORMAT};
    snprintf(path, sizeof path, "%s/control", run->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, &control, sizeof control) != (ssize_t)sizeof control)
        fail_msg("%s: %s", path, strerror(errno));
    run->control = mmap(NULL, sizeof control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(run->control, MAP_FAILED);
    close(fd);
}

static void make_dir(struct exec_run *run)
{
    *run = (struct exec_run){.dir = "/tmp/ty-exec-XXXXXX"};
    if (!mkdtemp(run->dir))
        fail_msg("%s: %s", run->dir, strerror(errno));
}

void exec_run_init(struct exec_run *run, const char *const *entries)
{
    make_dir(run);
    if (entries)
        write_plan(run, entries);
    write_control(run);
}

bool exec_run_init_on_disk(struct exec_run *run, const char *size, const char *const *entries)
{
    char options[64];
    make_dir(run);
    snprintf(options, sizeof options, "size=%s", size);
    run->mounted = mount("tmpfs", run->dir, "tmpfs", 0, options) == 0;
    if (!run->mounted) {
        rmdir(run->dir);
        return false;
    }
    write_plan(run, entries);
    write_control(run);
    return true;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

void exec_run_done(struct exec_run *run)
{
    if (run->pid) {
        kill(run->pid, SIGKILL);
        waitpid(run->pid, NULL, 0);
    }
    munmap(run->control, sizeof *run->control);
    if (run->mounted)
        umount2(run->dir, MNT_DETACH);
    nftw(run->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    for (size_t i = 0; i < 4; i++)
        ty_buf_done(&run->streams[i]);
}

void exec_run_start(struct exec_run *run)
{
    pid_t parent = getpid();
    run->pid = fork();
    assert_true(run->pid >= 0);
    if (run->pid)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(99);
    // What the starter has open and has set must not reach a job.
    setenv("LEAKED", "yes", 1);
    dup2(open("/dev/null", O_RDWR), 17);
    if (!freopen("/dev/null", "w", stderr))
        _exit(97);
    execl(PROGRAM, "trainyard-exec", run->dir, (char *)NULL);
    _exit(98);
}

int exec_run_wait(struct exec_run *run)
{
    int fd = (int)syscall(SYS_pidfd_open, run->pid, 0), status;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (fd < 0 || poll(&wait, 1, PATIENCE_MS) != 1) {
        exec_run_read(run);
        fail_msg("trainyard-exec does not end; it says: %s", exec_run_text(run, TY_EXEC_STREAM_SUPERVISOR));
    }
    close(fd);
    assert_int_equal(waitpid(run->pid, &status, 0), run->pid);
    run->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool file_has(const char *path, const char *text)
{
    TY_BUF(bytes);
    FILE *file = fopen(path, "re");
    size_t got;
    if (!file)
        return false;
    while ((got = fread(ty_buf_reserve(&bytes, 4096), 1, 4096, file)) > 0)
        bytes.len += got;
    fclose(file);
    return !text || memmem(bytes.data, bytes.len, text, strlen(text));
}

void exec_run_await_file(struct exec_run *run, const char *name, const char *text)
{
    char path[128], events[4096];
    uint64_t until = ty_clock_mono_ms() + PATIENCE_MS;
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    assert_true(fd >= 0 && inotify_add_watch(fd, run->dir, IN_CREATE | IN_MODIFY | IN_MOVED_TO | IN_CLOSE_WRITE) >= 0);
    snprintf(path, sizeof path, "%s/%s", run->dir, name);
    while (!file_has(path, text)) {
        uint64_t now = ty_clock_mono_ms();
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (now >= until || poll(&wait, 1, (int)(until - now)) != 1) {
            exec_run_read(run);
            fail_msg("waited in vain for %s in %s; the supervisor says: %s", text ? text : "anything", name,
                     exec_run_text(run, TY_EXEC_STREAM_SUPERVISOR));
        }
        if (read(fd, events, sizeof events) < 0 && errno != EAGAIN)
            fail_msg("inotify: %s", strerror(errno));
    }
    close(fd);
}

void exec_run_stop(struct exec_run *run, enum ty_exec_stop stop)
{
    atomic_store(&run->control->stop, stop);
    kill(run->pid, SIGTERM);
}

const char *exec_run_value(struct exec_run *run, const char *key)
{
    static char line[4096];
    char path[128];
    const char *value = NULL;
    snprintf(path, sizeof path, "%s/exit", run->dir);
    FILE *file = fopen(path, "re");
    while (file && !value && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == '=')
            value = line + strlen(key) + 1;
    }
    if (file)
        fclose(file);
    return value;
}

void exec_run_read(struct exec_run *run)
{
    char path[128];
    TY_BUF(bytes);
    size_t got, at = 0, used;
    struct ty_spool_frame frame;
    enum ty_spool_result result = TY_SPOOL_MORE;
    snprintf(path, sizeof path, "%s/spool", run->dir);
    FILE *file = fopen(path, "re");
    while (file && (got = fread(ty_buf_reserve(&bytes, 65536), 1, 65536, file)) > 0)
        bytes.len += got;
    if (file)
        fclose(file);
    run->frames = 0;
    run->ended = false;
    for (size_t i = 0; i < 4; i++)
        ty_buf_clear(&run->streams[i]);
    size_t counted = atomic_load(&run->control->spool_bytes);
    assert_true(counted <= bytes.len);
    while (at < counted && (result = ty_spool_next(bytes.data + at, counted - at, &frame, &used)) == TY_SPOOL_FRAME) {
        run->frames++;
        assert_false(run->ended); // nothing comes behind the end
        run->ended = frame.stream == TY_EXEC_STREAM_END;
        if (!run->ended)
            ty_buf_add(&run->streams[frame.stream], frame.bytes, frame.len);
        at += used;
    }
    run->torn = at != counted;
}

const char *exec_run_text(struct exec_run *run, unsigned stream)
{
    return ty_buf_text(&run->streams[stream]);
}

void exec_run_all(struct exec_run *run, const char *const *entries, const char *outcome)
{
    exec_run_init(run, entries);
    exec_run_start(run);
    assert_int_equal(exec_run_wait(run), 0);
    exec_run_read(run);
    const char *got = exec_run_value(run, "outcome");
    if (!got || strcmp(got, outcome))
        fail_msg("the outcome is %s, not %s; the supervisor says: %s", got ? got : "missing", outcome,
                 exec_run_text(run, TY_EXEC_STREAM_SUPERVISOR));
    assert_int_equal(atomic_load(&run->control->done), 1);
    assert_true(run->ended && !run->torn);
}
