#include "tests/integration/redis_server.h"

#include "core/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"

#define READY_MS 60000
#define ANSWER_MS 60000
#define ARGS_MAX 64
#define REPLY_MAX 65536

struct redis_server {
    struct redis_server_options options;
    char *dir, *url, *socket_path;
    int port, claim_fd;
    pid_t pid;       // 0: does not run
    int output_fd;   // its log
    struct ty_buf output;
    struct redis_server *next;
};

// What a failed test leaves behind is removed at the end of the program.
static struct redis_server *servers;

// ---- place ----

static bool can_be_bound(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    bool is_free = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                   bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return is_free;
}

// Tells other tests that a port is taken, also while nobody listens there: by a name that is free again when the socket is closed.
static int claim(int port)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "trainyard-test-port-%d", port);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) == 0)
        return fd;
    close(fd);
    return -1;
}

// A server may be started long after it got its port, and again and again: the port lies below those that the kernel gives to
// connections and to servers that ask for any.
static int claim_port(int *ret_claim_fd)
{
    int low = 32768;
    FILE *range = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (range && fscanf(range, "%d", &low) != 1)
        low = 32768;
    if (range)
        fclose(range);
    low = low < 4096 ? 32768 : low;
    int span = low - 1024 < 12000 ? low - 1024 : 12000;
    for (int tries = 0; tries < 200; tries++) {
        int port = low - 1 - (int)arc4random_uniform((uint32_t)span);
        *ret_claim_fd = claim(port);
        if (*ret_claim_fd < 0)
            continue;
        if (can_be_bound(port))
            return port;
        close(*ret_claim_fd);
    }
    *ret_claim_fd = -1;
    fail_msg("no free port: %s", strerror(errno));
    return 0;
}

static void free_all(void)
{
    while (servers)
        redis_server_free(servers);
}

struct redis_server *redis_server_new(const struct redis_server_options *options)
{
    static bool registered;
    if (!registered)
        atexit(free_all);
    registered = true;
    struct redis_server *server = ty_xcalloc(1, sizeof *server);
    const char *root = getenv("TMPDIR");
    server->output_fd = server->claim_fd = -1;
    if (options)
        server->options = *options;
    server->dir = ty_xasprintf("%s/ty-redis-XXXXXX", root && *root ? root : "/tmp");
    if (!mkdtemp(server->dir))
        fail_msg("%s: %s", server->dir, strerror(errno));
    server->socket_path = ty_xasprintf("%s/redis.sock", server->dir);
    server->next = servers;
    servers = server;
    server->port = server->options.unix_socket ? 0 : claim_port(&server->claim_fd);
    server->url = server->options.unix_socket ? ty_xasprintf("unix://%s", server->socket_path)
                                              : ty_xasprintf("redis://127.0.0.1:%d", server->port);
    return server;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

void redis_server_free(struct redis_server *server)
{
    if (!server)
        return;
    redis_server_kill(server);
    struct redis_server **at = &servers;
    while (*at != server)
        at = &(*at)->next;
    *at = server->next;
    nftw(server->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (server->claim_fd >= 0)
        close(server->claim_fd);
    ty_buf_done(&server->output);
    free(server->dir);
    free(server->url);
    free(server->socket_path);
    free(server);
}

const char *redis_server_url(const struct redis_server *server)
{
    return server->url;
}

int redis_server_port(const struct redis_server *server)
{
    return server->port;
}

const char *redis_server_dir(const struct redis_server *server)
{
    return server->dir;
}

// ---- process ----

_Noreturn static void run_server(const struct redis_server *server, const char *const *extra, int output_fd, pid_t parent)
{
    char port[16];
    const char *argv[ARGS_MAX] = {"redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", server->dir,
                                  "--daemonize", "no", "--save", "86400 1000000", "--databases", "16", "--appendonly",
                                  server->options.appendonly ? "yes" : "no", "--appendfsync", "always",
                                  "--unixsocket", server->socket_path};
    size_t count = 0;
    sigset_t none;
    while (argv[count])
        count++;
    snprintf(port, sizeof port, "%d", server->port);
    for (const char *const *at = server->options.extra; at && *at && count < ARGS_MAX - 1; at++)
        argv[count++] = *at;
    for (const char *const *at = extra; at && *at && count < ARGS_MAX - 1; at++)
        argv[count++] = *at;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    dup2(output_fd, STDOUT_FILENO);
    dup2(output_fd, STDERR_FILENO);
    execvp(argv[0], (char *const *)argv);
    dprintf(STDERR_FILENO, "redis-server: %s\n", strerror(errno));
    _exit(127);
}

void redis_server_launch(struct redis_server *server, const char *const *extra)
{
    int ends[2];
    if (server->pid)
        fail_msg("redis-server runs already");
    if (pipe2(ends, O_CLOEXEC) < 0)
        fail_msg("pipe: %s", strerror(errno));
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        fail_msg("fork: %s", strerror(errno));
    if (pid == 0)
        run_server(server, extra, ends[1], parent);
    close(ends[1]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    server->pid = pid;
    server->output_fd = ends[0];
    ty_buf_clear(&server->output);
}

// Takes what the server has logged. false at its end.
static bool read_output(struct redis_server *server)
{
    for (;;) {
        ssize_t got = read(server->output_fd, ty_buf_reserve(&server->output, 4096), 4096);
        if (got <= 0)
            return got < 0 && (errno == EAGAIN || errno == EINTR);
        server->output.len += (size_t)got;
    }
}

void redis_server_wait_ready(struct redis_server *server)
{
    uint64_t until = ty_clock_mono_ms() + READY_MS;
    bool alive = true;
    while (alive && !strstr(ty_buf_text(&server->output), "eady to accept connections")) {
        uint64_t now = ty_clock_mono_ms();
        struct pollfd wait = {.fd = server->output_fd, .events = POLLIN};
        if (now >= until || poll(&wait, 1, (int)(until - now)) == 0)
            break;
        alive = read_output(server);
    }
    if (!strstr(ty_buf_text(&server->output), "eady to accept connections")) {
        redis_server_kill(server);
        fail_msg("redis-server did not get ready:\n%s", ty_buf_text(&server->output));
    }
    const char *pong = redis_server_ask(server, "PING"); // a server that asks for a password answers, too
    if (strncmp(pong, "+PONG", 5) && strncmp(pong, "-NOAUTH", 7))
        fail_msg("redis-server answered PING with %s", pong);
}

void redis_server_start(struct redis_server *server)
{
    redis_server_launch(server, NULL);
    redis_server_wait_ready(server);
}

static void end(struct redis_server *server, int signal_number)
{
    if (!server->pid)
        return;
    kill(server->pid, signal_number);
    kill(server->pid, SIGCONT);
    while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    read_output(server);
    close(server->output_fd);
    server->output_fd = -1;
    server->pid = 0;
}

void redis_server_stop(struct redis_server *server)
{
    end(server, SIGTERM);
}

void redis_server_kill(struct redis_server *server)
{
    end(server, SIGKILL);
}

void redis_server_pause(struct redis_server *server)
{
    siginfo_t info;
    kill(server->pid, SIGSTOP);
    if (waitid(P_PID, (id_t)server->pid, &info, WSTOPPED) < 0)
        fail_msg("redis-server did not stop: %s", strerror(errno));
}

void redis_server_resume(struct redis_server *server)
{
    siginfo_t info;
    kill(server->pid, SIGCONT);
    if (waitid(P_PID, (id_t)server->pid, &info, WCONTINUED) < 0)
        fail_msg("redis-server did not go on: %s", strerror(errno));
}

// ---- asking ----

static int dial(struct redis_server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(server->socket_path) >= sizeof address.sun_path)
        fail_msg("TMPDIR is too long for a Unix socket");
    strcpy(address.sun_path, server->socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail_msg("%s: %s", server->socket_path, strerror(errno));
    return fd;
}

// Length of the whole reply at the start of `text`, 0 when there is more to come.
static size_t reply_len(const char *text)
{
    const char *end_of_line = strstr(text, "\r\n");
    if (!end_of_line)
        return 0;
    size_t head = (size_t)(end_of_line - text) + 2;
    long count = atol(text + 1);
    if (*text == '$')
        return count < 0 ? head : strlen(text) >= head + (size_t)count + 2 ? head + (size_t)count + 2 : 0;
    if (*text != '*')
        return head;
    for (long i = 0; i < count; i++) {
        size_t item = reply_len(text + head);
        if (!item)
            return 0;
        head += item;
    }
    return head;
}

const char *redis_server_ask(struct redis_server *server, const char *line)
{
    static char reply[REPLY_MAX];
    size_t len = 0;
    uint64_t until = ty_clock_mono_ms() + ANSWER_MS;
    int fd = dial(server);
    dprintf(fd, "%s\r\n", line);
    *reply = 0;
    while (!reply_len(reply) && len < sizeof reply - 1) {
        uint64_t now = ty_clock_mono_ms();
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        ssize_t got = now < until && poll(&wait, 1, (int)(until - now)) == 1 ? read(fd, reply + len, sizeof reply - 1 - len) : 0;
        if (got <= 0)
            fail_msg("redis-server did not answer %s", line);
        len += (size_t)got;
        reply[len] = 0;
    }
    close(fd);
    return reply;
}

void redis_server_tell(struct redis_server *server, const char *line)
{
    int fd = dial(server);
    dprintf(fd, "%s\r\n", line);
    close(fd);
}

void redis_server_trust(struct redis_server *server, unsigned shards)
{
    for (unsigned shard = 0; shard < shards; shard++) {
        char line[64];
        snprintf(line, sizeof line, "HSET {ty:%u}:m replay done", shard);
        redis_server_ask(server, line);
    }
}

void redis_server_empty(struct redis_server *server, unsigned shards)
{
    char line[96];
    redis_server_ask(server, "FLUSHALL");
    for (unsigned shard = 0; shard < shards; shard++) { // as who comes first writes it down
        snprintf(line, sizeof line, "HSET {ty:%u}:m format %d shards %u replay done", shard, TY_RECORD_FORMAT, shards);
        redis_server_ask(server, line);
    }
}
