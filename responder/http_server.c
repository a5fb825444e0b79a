#include "responder/http_server.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "responder/http_internal.h"
#include "responder/http_tls.h"

// ---- the library on our loop ----

static void run(void *context)
{
    struct ty_http *http = context;
    MHD_UNSIGNED_LONG_LONG wait_ms;
    do {
        http->has_resumed = false;
        MHD_run(http->daemon);
    } while (http->has_resumed);
    if (MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES)
        ty_loop_set_timer(http->calls.loop, &http->timer, wait_ms, run, http);
    else
        ty_loop_clear_timer(http->calls.loop, &http->timer);
}

// The library does not wake its epoll descriptor for a connection that was resumed.
void ty_http_run_soon(struct ty_http *http)
{
    http->has_resumed = true;
    ty_loop_set_timer(http->calls.loop, &http->timer, 0, run, http);
}

static void on_readable(void *context, int fd, unsigned events)
{
    (void)fd;
    (void)events;
    run(context);
}

__attribute__((format(printf, 2, 0))) static void on_library_log(void *context, const char *format, va_list args)
{
    char text[512];
    (void)context;
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = 0;
    ty_log(TY_LOG_DEBUG, "http.log", TY_KV("message", "%s", text));
}

// ---- connections ----

static void on_deadline(void *context)
{
    struct ty_http_connection *connection = context;
    ty_log(TY_LOG_DEBUG, "http.too_slow");
    shutdown(connection->fd, SHUT_RDWR); // the library finds it closed
}

void ty_http_set_deadline(struct ty_http_connection *connection, uint64_t delay_ms)
{
    if (delay_ms)
        ty_loop_set_timer(connection->http->calls.loop, &connection->deadline, delay_ms, on_deadline, connection);
    else
        ty_loop_clear_timer(connection->http->calls.loop, &connection->deadline);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **kept, enum MHD_ConnectionNotificationCode what)
{
    struct ty_http *http = context;
    struct ty_http_connection *socket = *kept;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        socket = *kept = ty_xcalloc(1, sizeof *socket);
        *socket = (struct ty_http_connection){
            .http = http,
            .fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
            .next = http->connections,
            .at = &http->connections,
        };
        if (socket->next)
            socket->next->at = &socket->next;
        http->connections = socket;
        ty_http_set_deadline(socket, TY_HTTP_READ_MS);
    } else if (socket) {
        ty_http_set_deadline(socket, 0);
        *socket->at = socket->next;
        if (socket->next)
            socket->next->at = socket->at;
        free(socket);
        *kept = NULL;
    }
}

// The first line of a request is there: from here on its time counts.
static void *on_request_line(void *context, const char *line, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    (void)context;
    (void)line;
    if (info && info->socket_context)
        ty_http_set_deadline(info->socket_context, TY_HTTP_READ_MS);
    return NULL;
}

// ---- beginning and end ----

static int open_socket(struct ty_http *http, const struct ty_http_options *options, struct ty_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    char port[8];
    int on = 1;
    snprintf(port, sizeof port, "%u", options->port);
    if (getaddrinfo(options->host, port, &hints, &found) != 0 || !found)
        return ty_err_set(err, TY_EUNAVAILABLE, "cannot listen on %s: there is no such address", options->host);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, TY_HTTP_BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&name, &len) < 0) {
        ty_err_set(err, TY_EUNAVAILABLE, "cannot listen on %s port %s: %s", options->host, port, strerror(errno));
        freeaddrinfo(found);
        if (fd >= 0)
            close(fd);
        return -(int)err->code;
    }
    freeaddrinfo(found);
    getnameinfo((struct sockaddr *)&name, len, NULL, 0, port, sizeof port, NI_NUMERICSERV);
    http->port = (unsigned)strtoul(port, NULL, 10);
    http->listen_fd = fd;
    return 0;
}

static int start_daemon(struct ty_http *http, struct ty_err *err)
{
    struct MHD_OptionItem limits[] = {
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)http->options.max_connections, NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT, (intptr_t)http->options.max_per_address, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, TY_HTTP_HEADER_BYTES, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, TY_HTTP_STALL_MS / 1000, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_LISTEN_SOCKET, http->listen_fd, NULL},
        {MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)ty_http_tls_retrieve},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TY_HTTP_TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL}, // where clients are asked: their authorities
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    if (http->options.tls) {
        ty_http_tls_start(http->options.tls);
        flags |= MHD_USE_TLS;
        if (ty_http_tls_authorities())
            tls[2] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0, (void *)(uintptr_t)ty_http_tls_authorities()};
    }
    http->daemon = MHD_start_daemon(flags, 0, NULL, NULL, ty_http_on_access, http, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
                                    MHD_OPTION_NOTIFY_COMPLETED, ty_http_on_completed, http, MHD_OPTION_NOTIFY_CONNECTION,
                                    on_connection, http, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, http,
                                    MHD_OPTION_ARRAY, limits, MHD_OPTION_ARRAY,
                                    http->options.tls ? tls : &tls[3], MHD_OPTION_END);
    if (!http->daemon)
        return ty_err_set(err, TY_ESYSTEM, "libmicrohttpd does not start");
    http->epoll_fd = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return ty_loop_add_fd(http->calls.loop, http->epoll_fd, TY_LOOP_READ, on_readable, http, err);
}

static void tell_stopped(void *context)
{
    struct ty_http *http = context;
    if (http->calls.stopping && !http->requests && http->stopped) {
        void (*stopped)(void *) = http->stopped;
        http->stopped = NULL;
        stopped(http->stopped_context);
    }
}

void ty_http_request_gone(struct ty_http *http)
{
    http->requests--;
    tell_stopped(http);
}

int ty_http_new(struct ty_loop *loop, const struct ty_http_options *options, const struct ty_rpc_method *methods, size_t count,
                void *context, struct ty_http **ret_http, struct ty_err *err)
{
    struct ty_http *http = ty_xcalloc(1, sizeof *http);
    http->options = *options;
    http->methods = methods;
    http->method_count = count;
    http->calls = (struct ty_rpc_calls){.loop = loop, .context = context, .transport = &ty_http_transport};
    http->listen_fd = http->epoll_fd = -1;
    if (open_socket(http, options, err) < 0 || start_daemon(http, err) < 0) {
        ty_http_free(http);
        return -(int)err->code;
    }
    *ret_http = http;
    return 0;
}

unsigned ty_http_port(const struct ty_http *http)
{
    return http->port;
}

void ty_http_stop(struct ty_http *http, void (*on_stopped)(void *context), void *context)
{
    http->stopped = on_stopped;
    http->stopped_context = context;
    http->listen_fd = MHD_quiesce_daemon(http->daemon);
    if (http->listen_fd >= 0)
        close(http->listen_fd);
    http->listen_fd = -1;
    ty_rpc_stop_calls(&http->calls);
    tell_stopped(http);
}

void ty_http_cancel_calls(struct ty_http *http)
{
    for (struct ty_http_connection *connection = http->connections; connection; connection = connection->next)
        shutdown(connection->fd, SHUT_RDWR);
}

void ty_http_free(struct ty_http *http)
{
    if (!http)
        return;
    if (http->epoll_fd >= 0)
        ty_loop_remove_fd(http->calls.loop, http->epoll_fd);
    ty_loop_clear_timer(http->calls.loop, &http->timer);
    if (http->daemon)
        MHD_stop_daemon(http->daemon); // closes the sockets
    else if (http->listen_fd >= 0)
        close(http->listen_fd);
    if (http->options.tls)
        ty_http_tls_stop();
    free(http);
}

const char *ty_http_version(void)
{
    return MHD_get_version();
}
