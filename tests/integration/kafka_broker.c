// The broker's process, by way of deploy/kafka/kafka. What stands in it: kafka_records.c.
#include "tests/integration/kafka_broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"

#define PROGRAM TY_SOURCE_DIR "/deploy/kafka/kafka"
#define UNAVAILABLE 3  // its exit code where Kafka cannot be had
#define SKIPPED 77     // ours, as ctest knows it
#define STOP_MS 30000

struct kafka_broker {
    char *dir;
    char *address;
    pid_t pid;  // 0: does not run. It is no child of ours
    int pid_fd;
    struct kafka_broker *next;
};

// What a failed test leaves behind is removed at the end of the program.
static struct kafka_broker *brokers;

_Noreturn static void end_skipped(const char *why)
{
    const char *no_skip = getenv("TRAINYARD_NO_SKIP");
    bool fails = no_skip && !strcmp(no_skip, "1");
    printf("skipped: no Kafka: %s\n", why);
    fflush(stdout);
    exit(fails ? 1 : SKIPPED);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static void free_all(void)
{
    while (brokers)
        kafka_broker_free(brokers);
}

// ---- the script ----

_Noreturn static void run_script(struct kafka_broker *broker, const char *parent, const char *output_path)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int output = open(output_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execl(PROGRAM, "kafka", "start", "--dir", broker->dir, "--die-with", parent, (char *)NULL);
    dprintf(STDERR_FILENO, "%s: %s\n", PROGRAM, strerror(errno));
    _exit(127);
}

static void read_file(const char *dir, const char *name, struct ty_buf *out)
{
    char *path TY_FREE = ty_xasprintf("%s/%s", dir, name);
    FILE *file = fopen(path, "re");
    ty_buf_clear(out);
    if (!file)
        return;
    size_t got;
    while ((got = fread(ty_buf_reserve(out, 4096), 1, 4096, file)) > 0)
        out->len += got;
    fclose(file);
    while (out->len && out->data[out->len - 1] == '\n')
        out->len--;
    ty_buf_text(out);
}

// The exit code of the script; what it said is in `out`.
static int start(struct kafka_broker *broker, struct ty_buf *out)
{
    char parent[16];
    int status;
    char *output_path TY_FREE = ty_xasprintf("%s/start.out", broker->dir);
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    pid_t pid = fork();
    if (pid < 0)
        fail_msg("fork: %s", strerror(errno));
    if (pid == 0)
        run_script(broker, parent, output_path);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    read_file(broker->dir, "start.out", out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void take_process(struct kafka_broker *broker)
{
    TY_BUF(text);
    read_file(broker->dir, "pid", &text);
    broker->pid = (pid_t)strtol(ty_buf_text(&text), NULL, 10);
    broker->pid_fd = broker->pid > 0 ? (int)syscall(SYS_pidfd_open, broker->pid, 0) : -1;
    if (broker->pid_fd < 0)
        fail_msg("%s/pid: no such process", broker->dir);
    read_file(broker->dir, "address", &text);
    if (!broker->address)
        broker->address = ty_xstrdup(ty_buf_text(&text));
    if (!*broker->address || strcmp(broker->address, ty_buf_text(&text)))
        fail_msg("the broker's address was %s and is %s", broker->address, ty_buf_text(&text));
}

// ---- its life ----

struct kafka_broker *kafka_broker_new(void)
{
    const char *without = getenv("TRAINYARD_WITHOUT_KAFKA"), *root = getenv("TMPDIR");
    TY_BUF(said);
    if (without && *without)
        end_skipped(without);
    if (!brokers)
        atexit(free_all);
    struct kafka_broker *broker = ty_xcalloc(1, sizeof *broker);
    broker->pid_fd = -1;
    broker->dir = ty_xasprintf("%s/ty-kafka-XXXXXX", root && *root ? root : "/tmp");
    if (!mkdtemp(broker->dir))
        fail_msg("%s: %s", broker->dir, strerror(errno));
    broker->next = brokers;
    brokers = broker;
    int code = start(broker, &said);
    if (code == UNAVAILABLE) {
        char *why TY_FREE = ty_xstrdup(ty_buf_text(&said));
        ty_buf_done(&said);
        end_skipped(strrchr(why, '\n') ? strrchr(why, '\n') + 1 : why);
    }
    if (code != 0)
        fail_msg("%s", ty_buf_text(&said));
    take_process(broker);
    return broker;
}

void kafka_broker_start(struct kafka_broker *broker)
{
    TY_BUF(said);
    if (broker->pid)
        fail_msg("the broker runs already");
    if (start(broker, &said) != 0)
        fail_msg("%s", ty_buf_text(&said));
    take_process(broker);
}

static void send_signal(const struct kafka_broker *broker, int number)
{
    if (broker->pid)
        syscall(SYS_pidfd_send_signal, broker->pid_fd, number, NULL, 0);
}

static bool is_gone(const struct kafka_broker *broker, int timeout_ms)
{
    struct pollfd wait = {.fd = broker->pid_fd, .events = POLLIN};
    return poll(&wait, 1, timeout_ms) == 1;
}

static void end(struct kafka_broker *broker, int number)
{
    if (!broker->pid)
        return;
    send_signal(broker, number);
    send_signal(broker, SIGCONT);
    if (!is_gone(broker, STOP_MS)) {
        send_signal(broker, SIGKILL);
        is_gone(broker, STOP_MS);
    }
    close(broker->pid_fd);
    broker->pid_fd = -1;
    broker->pid = 0;
}

void kafka_broker_stop(struct kafka_broker *broker)
{
    end(broker, SIGTERM);
}

void kafka_broker_kill(struct kafka_broker *broker)
{
    end(broker, SIGKILL);
}

static bool is_running(const char *stat_path)
{
    char text[512];
    FILE *file = fopen(stat_path, "re");
    size_t got = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[got] = 0;
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] && !strchr("TtZX", name_end[2]); // a thread that is gone has none
}

static bool has_running_thread(const struct kafka_broker *broker)
{
    bool has_one = false;
    char *path TY_FREE = ty_xasprintf("/proc/%d/task", (int)broker->pid);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && !has_one && (entry = readdir(dir));) {
        char *stat_path TY_FREE = ty_xasprintf("%s/%s/stat", path, entry->d_name);
        has_one = entry->d_name[0] != '.' && is_running(stat_path);
    }
    if (dir)
        closedir(dir);
    return has_one;
}

// On a busy machine one thread may take the signal a while before the others hear of it.
void kafka_broker_pause(struct kafka_broker *broker)
{
    send_signal(broker, SIGSTOP);
    for (int waited_ms = 0; broker->pid && has_running_thread(broker); waited_ms++) {
        if (waited_ms > STOP_MS)
            fail_msg("the broker does not stand still");
        poll(NULL, 0, 1);
    }
}

void kafka_broker_resume(struct kafka_broker *broker)
{
    send_signal(broker, SIGCONT);
}

void kafka_broker_free(struct kafka_broker *broker)
{
    if (!broker)
        return;
    kafka_broker_kill(broker);
    struct kafka_broker **at = &brokers;
    while (*at != broker)
        at = &(*at)->next;
    *at = broker->next;
    nftw(broker->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(broker->dir);
    free(broker->address);
    free(broker);
}

const char *kafka_broker_address(const struct kafka_broker *broker)
{
    return broker->address;
}

const char *kafka_broker_dir(const struct kafka_broker *broker)
{
    return broker->dir;
}
