// Where Redis is: the URL, and names turned into addresses. hiredis would resolve a name on the caller's thread, and a
// name server that is away would then hold the whole loop; so a thread of its own does it.
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/file.h"
#include "core/redis_internal.h"
#include "core/redis_tls.h"

// ---- the URL ----

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// A copy of user or password with %XX turned into bytes; NULL on a malformed escape or an escaped NUL.
static char *unescape(const char *text, size_t len)
{
    char *out = ty_xmalloc(len + 1);
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            out[used++] = text[i];
            continue;
        }
        bool fits = len - i > 2;
        int high = fits ? hex_digit(text[i + 1]) : -1, low = fits ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0 || !(high | low)) {
            free(out);
            return NULL;
        }
        out[used++] = (char)(high << 4 | low);
        i += 2;
    }
    out[used] = 0;
    return out;
}

static int parse_credentials(const char *text, size_t len, struct ty_redis_url *url, struct ty_err *err)
{
    const char *colon = memchr(text, ':', len);
    if (!colon)
        return ty_err_set(err, TY_EINVALID, "Redis URL: before the @ stands no user:password");
    size_t user_len = (size_t)(colon - text);
    url->user = user_len ? unescape(text, user_len) : NULL;
    url->password = unescape(colon + 1, len - user_len - 1);
    if ((user_len && !url->user) || !url->password)
        return ty_err_set(err, TY_EINVALID, "Redis URL: user or password has a malformed %%XX escape");
    return 0;
}

static int parse_number(const char *text, size_t len, long min, long max, int *ret_number)
{
    long number = 0;
    if (!len || len > 9)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        number = number * 10 + (text[i] - '0');
    }
    if (number < min || number > max)
        return -1;
    *ret_number = (int)number;
    return 0;
}

// No error shows any of the text: in "redis://user:secret", which lacks its host, the secret stands where a port would.
static int parse_host(const char *text, struct ty_redis_url *url, struct ty_err *err)
{
    const char *slash = strchrnul(text, '/'), *host = text, *host_end;
    if (*text == '[') { // an IPv6 address
        host = text + 1;
        host_end = memchr(text, ']', (size_t)(slash - text));
        if (!host_end)
            return ty_err_set(err, TY_EINVALID, "Redis URL: a [ before the host has no ]");
        text = host_end + 1;
    } else {
        host_end = memchr(text, ':', (size_t)(slash - text));
        host_end = host_end ? host_end : slash;
        text = host_end;
    }
    if (host_end == host)
        return ty_err_set(err, TY_EINVALID, "Redis URL: the host is missing");
    url->host = ty_xasprintf("%.*s", (int)(host_end - host), host);
    url->port = 6379;
    if (text != slash && (*text != ':' || parse_number(text + 1, (size_t)(slash - text - 1), 1, 65535, &url->port) < 0))
        return ty_err_set(err, TY_EINVALID, "Redis URL: what stands behind the host is not a port from 1 to 65535");
    if (*slash && slash[1] && parse_number(slash + 1, strlen(slash + 1), 0, 1 << 20, &url->database) < 0)
        return ty_err_set(err, TY_EINVALID, "Redis URL: what stands behind the last / is not a database number");
    url->shown = ty_xasprintf("%s:%d", url->host, url->port);
    return 0;
}

int ty_redis_url_parse(const char *text, struct ty_redis_url *url, struct ty_err *err)
{
    *url = (struct ty_redis_url){0};
    bool is_unix = !strncmp(text, "unix://", 7);
    bool is_tls = !strncmp(text, "rediss://", 9);
    if (is_tls && !ty_redis_has_tls())
        return ty_err_set(err, TY_EINVALID,
                          "Redis URL: rediss:// is TLS, which this build's hiredis does not have (--version); a TLS tunnel on "
                          "this machine can stand in between");
    url->tls = is_tls;
    if (!is_unix && !is_tls && strncmp(text, "redis://", 8))
        return ty_err_set(err, TY_EINVALID, "Redis URL: it starts with neither redis:// nor unix:///");
    const char *rest = text + (is_unix ? 7 : is_tls ? 9 : 8), *at = is_unix && *rest == '/' ? NULL : strrchr(rest, '@');
    if (at && parse_credentials(rest, (size_t)(at - rest), url, err) < 0)
        return -(int)err->code;
    rest = at ? at + 1 : rest;
    if (!is_unix)
        return parse_host(rest, url, err);
    if (*rest != '/')
        return ty_err_set(err, TY_EINVALID, "Redis URL: the path of the Unix socket is not absolute");
    url->path = ty_xstrdup(rest);
    url->shown = ty_xstrdup(rest);
    return 0;
}

static void add_escaped(struct ty_buf *out, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ty_buf_add_format(out, "%%%02X", (unsigned char)bytes[i]);
}

int ty_redis_url_with_password(const char *text, const char *path, char **ret_text, struct ty_err *err)
{
    struct ty_buf secret TY_CLEANUP(ty_file_forget) = {0}, url TY_CLEANUP(ty_file_forget) = {0};
    const char *scheme = strstr(text, "://");
    if (!scheme)
        return ty_err_set(err, TY_EINVALID, "Redis URL: it starts with neither redis:// nor unix:///");
    if (ty_file_read(path, TY_REDIS_SECRET_BYTES, &secret, err) < 0)
        return -(int)err->code;
    while (secret.len && (secret.data[secret.len - 1] == '\n' || secret.data[secret.len - 1] == '\r'))
        secret.len--;
    if (!secret.len || memchr(secret.data, 0, secret.len))
        return ty_err_set(err, TY_EINVALID, "%s: the file is empty, or no text", path);
    const char *rest = scheme + 3, *at = *rest == '/' ? NULL : strrchr(rest, '@');
    ty_buf_add(&url, text, (size_t)(rest - text));
    if (at) {
        const char *colon = memchr(rest, ':', (size_t)(at - rest));
        ty_buf_add(&url, rest, (size_t)((colon ? colon : at) - rest));
        rest = at + 1;
    }
    ty_buf_add_byte(&url, ':');
    add_escaped(&url, (const char *)secret.data, secret.len);
    ty_buf_add_format(&url, "@%s", rest);
    *ret_text = ty_xstrdup(ty_buf_text(&url));
    return 0;
}

void ty_redis_url_forget(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
}

void ty_redis_url_done(struct ty_redis_url *url)
{
    free(url->host);
    free(url->path);
    free(url->user);
    free(url->password);
    free(url->shown);
    *url = (struct ty_redis_url){0};
}

// ---- names ----

// Shared by the loop's thread and the resolver's, freed by whoever leaves last: a resolver may hang for longer than its
// client, and even its loop, lives.
struct ty_redis_lookup {
    atomic_int users;
    char *host;
    int event_fd;     // wakes the loop when the resolver is done
    atomic_bool done; // rc, errno_value and addresses are there to be read
    int rc, errno_value;
    char **addresses;
    struct ty_loop *loop;
    ty_redis_found_fn fn;
    void *context;
};

static void free_addresses(char **addresses)
{
    for (char **address = addresses; address && *address; address++)
        free(*address);
    free(addresses);
}

static void leave(struct ty_redis_lookup *lookup)
{
    if (atomic_fetch_sub(&lookup->users, 1) != 1)
        return;
    close(lookup->event_fd);
    free_addresses(lookup->addresses);
    free(lookup->host);
    free(lookup);
}

static void collect(struct ty_redis_lookup *lookup, const struct addrinfo *found, int family, size_t *count)
{
    for (const struct addrinfo *info = found; info; info = info->ai_next) {
        char text[NI_MAXHOST];
        if (info->ai_family == family &&
            getnameinfo(info->ai_addr, info->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
            lookup->addresses[(*count)++] = ty_xstrdup(text);
    }
}

static void *resolve(void *context)
{
    struct ty_redis_lookup *lookup = context;
    struct addrinfo *found = NULL, hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    lookup->rc = getaddrinfo(lookup->host, NULL, &hints, &found);
    lookup->errno_value = errno;
    if (lookup->rc == 0) {
        size_t count = 0, total = 0;
        for (struct addrinfo *info = found; info; info = info->ai_next)
            total++;
        lookup->addresses = ty_xcalloc(total + 1, sizeof *lookup->addresses);
        collect(lookup, found, AF_INET, &count);
        collect(lookup, found, AF_INET6, &count);
        freeaddrinfo(found);
        if (!count)
            lookup->rc = EAI_NONAME;
    }
    atomic_store(&lookup->done, true);
    uint64_t one = 1;
    ssize_t written = write(lookup->event_fd, &one, sizeof one);
    (void)written; // an eventfd at zero always takes a one
    leave(lookup);
    return NULL;
}

static void on_resolved(void *context, int fd, unsigned events)
{
    struct ty_redis_lookup *lookup = context;
    struct ty_err err;
    (void)events;
    if (!atomic_load(&lookup->done))
        return;
    ty_loop_remove_fd(lookup->loop, fd);
    char **addresses = NULL;
    if (lookup->rc == 0) {
        addresses = lookup->addresses;
        lookup->addresses = NULL;
    } else {
        ty_err_set(&err, TY_EUNAVAILABLE, "Redis: cannot resolve \"%s\": %s", lookup->host,
                   lookup->rc == EAI_SYSTEM ? strerror(lookup->errno_value) : gai_strerror(lookup->rc));
    }
    lookup->fn(lookup->context, addresses, addresses ? NULL : &err);
    leave(lookup);
}

static int start_thread(struct ty_redis_lookup *lookup)
{
    // The signals of the process are for the loop's signalfd, not for this thread.
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attributes, resolve, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return rc;
}

struct ty_redis_lookup *ty_redis_lookup_start(struct ty_loop *loop, const char *host, ty_redis_found_fn fn, void *context,
                                              struct ty_err *err)
{
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_fd < 0) {
        ty_err_errno(err, errno, "Redis: eventfd");
        return NULL;
    }
    struct ty_redis_lookup *lookup = ty_xcalloc(1, sizeof *lookup);
    *lookup = (struct ty_redis_lookup){.host = ty_xstrdup(host), .event_fd = event_fd, .loop = loop, .fn = fn,
                                       .context = context};
    atomic_init(&lookup->users, 1);
    if (ty_loop_add_fd(loop, event_fd, TY_LOOP_READ, on_resolved, lookup, err) < 0) {
        leave(lookup);
        return NULL;
    }
    atomic_store(&lookup->users, 2);
    int rc = start_thread(lookup);
    if (rc != 0) {
        ty_err_errno(err, rc, "Redis: cannot start a thread to resolve \"%s\"", host);
        ty_loop_remove_fd(loop, event_fd);
        atomic_store(&lookup->users, 1);
        leave(lookup);
        return NULL;
    }
    return lookup;
}

void ty_redis_lookup_cancel(struct ty_redis_lookup *lookup)
{
    if (!lookup)
        return;
    ty_loop_remove_fd(lookup->loop, lookup->event_fd);
    leave(lookup);
}

bool ty_redis_is_numeric(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}
