#include "responder/responder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/kafka.h"
#include "core/log.h"
#include "core/redis.h"
#include "responder/access.h"
#include "responder/grpc_server.h"
#include "responder/http_server.h"
#include "responder/log_feed.h"
#include "responder/service.h"
#include "responder/tls.h"

#define GRACE_MS 5000
#define CUT_MS 500
#define TOMBSTONE_MS (UINT64_C(8) * 24 * 3600 * 1000)
#define LOG_RETENTION_MS (UINT64_C(7) * 24 * 3600 * 1000)
#define DEFAULT_MAX_ATTEMPTS 3

struct ty_responder {
    struct ty_loop *loop;
    struct ty_catalog *catalog;
    struct ty_service service;
    struct ty_grpc *grpc;
    struct ty_http *http; // NULL: off
    struct ty_tls *tls; // NULL: plaintext
    struct ty_timer grace;
    bool stopping, stopped;
    unsigned transports; // that have not stopped
};

// What is full is asked for with each submit; a store that would lose jobs is at least said.
static void on_memory(void *context, enum ty_memory_level level, const struct ty_err *misfit)
{
    (void)context;
    (void)level;
    if (misfit)
        ty_log(TY_LOG_ERROR, "store.misfit", TY_KV("error", "%s", misfit->message));
}

static int open_store(struct ty_responder *responder, const struct ty_responder_settings *settings, struct ty_err *err)
{
    char *url TY_CLEANUP(ty_redis_url_forget) = NULL;
    if (settings->redis_password_file &&
        ty_redis_url_with_password(settings->redis, settings->redis_password_file, &url, err) < 0)
        return ty_err_prefix(err, "--redis-password-file");
    struct ty_state_options options = {
        .redis_url = url ? url : settings->redis,
        .shards = (unsigned)settings->shards,
        .command_ms = (uint64_t)settings->redis_timeout_ms,
        .tombstone_ms = TOMBSTONE_MS,
        .log_retention_ms = LOG_RETENTION_MS,
        .default_max_attempts = DEFAULT_MAX_ATTEMPTS,
        .has_events = true,
    };
    if (ty_state_new(responder->loop, &options, ty_service_on_store, &responder->service, &responder->service.state,
                     err) < 0)
        return err->code == TY_EINVALID ? ty_err_prefix(err, "--redis") : -(int)err->code;
    responder->service.feeds = ty_log_feeds_new(responder->loop, responder->service.state);
    responder->service.max_followers = (unsigned)settings->max_followers;
    struct ty_store_memory_options memory = {.budget_bytes = (uint64_t)settings->store_budget_bytes,
                                             .admit_percent = (unsigned)settings->store_admit_percent,
                                             .shed_percent = 100};
    responder->service.memory =
        ty_store_memory_new(responder->loop, responder->service.state, &memory, on_memory, responder);
    return 0;
}

static struct ty_kafka_options kafka_options(const struct ty_responder_settings *settings)
{
    return (struct ty_kafka_options){
        .brokers = settings->kafka_brokers,
        .client_id = "trainyard-responder",
        .topic_prefix = settings->topic_prefix,
        .properties = settings->kafka_properties,
        .signing_key_file = settings->signing_key_file,
    };
}

static int open_access(struct ty_responder *responder, const struct ty_responder_settings *settings, struct ty_err *err)
{
    struct ty_kafka_options kafka = kafka_options(settings);
    struct ty_access_options options = {
        .kafka = &kafka,
        .is_on = settings->auth == TY_AUTH_KEYS,
        .secret_file = settings->token_secret_file,
        .token_life_s = (uint64_t)settings->token_hours * 3600,
        .failed_logins = (unsigned)settings->failed_logins,
        .default_organization = settings->default_organization,
    };
    if (!options.is_on)
        ty_log(TY_LOG_WARN, "access.off", TY_KV("message", "%s",
               "--auth is none: whoever reaches this address may do everything, for all organizations"));
    return ty_access_new(responder->loop, responder->service.state, &options, &responder->service.access, err);
}

static int open_kafka(struct ty_responder *responder, const struct ty_responder_settings *settings, struct ty_err *err)
{
    struct ty_kafka_options options = kafka_options(settings);
    return ty_publisher_new(&options, &responder->service.publisher, err);
}

static int open_tls(struct ty_responder *responder, const struct ty_responder_settings *settings, struct ty_err *err)
{
    struct ty_tls_options options = {
        .cert_file = settings->tls_cert, .key_file = settings->tls_key, .client_ca_file = settings->tls_client_ca};
    return settings->tls_cert ? ty_tls_new(responder->loop, &options, &responder->tls, err) : 0;
}

// A file that is there is whole: written aside, then renamed. flag is the setting that names it.
static int write_port_file(const char *flag, const char *path, const char *address, struct ty_err *err)
{
    char *aside TY_FREE = ty_xasprintf("%s.%d", path, (int)getpid());
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return ty_err_errno(err, errno, "%s: %s", flag, aside);
    bool written = dprintf(fd, "%s\n", address) > 0;
    if (close(fd) < 0 || !written || rename(aside, path) < 0) {
        ty_err_errno(err, errno, "%s: %s", flag, path);
        unlink(aside);
        return -(int)err->code;
    }
    return 0;
}

static char *address_text(const char *host, unsigned port)
{
    bool is_v6 = strchr(host, ':') != NULL;
    return ty_xasprintf("%s%s%s:%u", is_v6 ? "[" : "", host, is_v6 ? "]" : "", port);
}

static int serve_grpc(struct ty_responder *responder, const struct ty_responder_settings *settings, struct ty_err *err)
{
    struct ty_grpc_options options = {.max_request_bytes = TY_LIMIT_REQUEST_BYTES, .tls = responder->tls};
    char *host TY_FREE = NULL;
    if (ty_responder_listen_address(settings, &host, &options.port, err) < 0)
        return -(int)err->code;
    options.host = host;
    if (ty_grpc_new(responder->loop, &options, ty_service_methods, ty_service_method_count, &responder->service,
                    &responder->grpc, err) < 0)
        return -(int)err->code;
    char *address TY_FREE = address_text(host, ty_grpc_port(responder->grpc));
    ty_log(TY_LOG_INFO, "responder.ready", TY_KV("listen", "%s", address),
           TY_KV("tls", "%s", responder->tls ? "on" : "off"));
    return settings->port_file ? write_port_file("--port-file", settings->port_file, address, err) : 0;
}

static int serve_http(struct ty_responder *responder, const struct ty_responder_settings *settings, struct ty_err *err)
{
    struct ty_http_options options = {
        .max_connections = (unsigned)settings->http_max_connections,
        .max_per_address = (unsigned)settings->http_max_per_address,
        .origins = settings->http_origins,
        .tls = responder->tls,
        .is_ready = ty_service_is_ready,
    };
    char *host TY_FREE = NULL;
    if (ty_responder_http_address(settings, &host, &options.port, err) < 0)
        return -(int)err->code;
    if (!host)
        return 0;
    options.host = host;
    // Who has to log in may come by a proxy, under whatever name that has.
    options.local_names_only = ty_responder_is_loopback(host) && !settings->insecure && settings->auth == TY_AUTH_NONE;
    if (ty_http_new(responder->loop, &options, ty_service_methods, ty_service_method_count, &responder->service,
                    &responder->http, err) < 0)
        return -(int)err->code;
    char *address TY_FREE = address_text(host, ty_http_port(responder->http));
    ty_log(TY_LOG_INFO, "responder.http_ready", TY_KV("listen", "%s", address),
           TY_KV("tls", "%s", responder->tls ? "on" : "off"));
    return settings->http_port_file ? write_port_file("--http-port-file", settings->http_port_file, address, err) : 0;
}

// What is wrong with where and how to serve is said before anything is read or opened.
static int check_addresses(const struct ty_responder_settings *settings, struct ty_err *err)
{
    char *grpc TY_FREE = NULL, *http TY_FREE = NULL;
    unsigned port;
    int rc = ty_responder_listen_address(settings, &grpc, &port, err);
    return rc < 0 ? rc : ty_responder_http_address(settings, &http, &port, err);
}

int ty_responder_start(struct ty_loop *loop, const struct ty_responder_settings *settings,
                       struct ty_responder **ret_responder, struct ty_err *err)
{
    struct ty_responder *responder = ty_xcalloc(1, sizeof *responder);
    struct ty_service *service = &responder->service;
    responder->loop = service->loop = loop;
    if (check_addresses(settings, err) < 0 || open_tls(responder, settings, err) < 0 ||
        ty_catalog_load(settings->catalog_dir, &responder->catalog, err) < 0)
        goto fail;
    service->catalog = responder->catalog;
    if (ty_service_init(service, err) < 0 || open_store(responder, settings, err) < 0 || open_access(responder, settings, err) < 0 ||
        open_kafka(responder, settings, err) < 0 || serve_http(responder, settings, err) < 0 ||
        serve_grpc(responder, settings, err) < 0)
        goto fail;
    *ret_responder = responder;
    return 0;
fail:
    ty_responder_free(responder);
    return -(int)err->code;
}

static void on_stopped(void *context)
{
    struct ty_responder *responder = context;
    if (--responder->transports)
        return;
    responder->stopped = true;
    ty_loop_clear_timer(responder->loop, &responder->grace);
    ty_loop_stop(responder->loop);
}

// The clients have been told; what is left waits for a store or a broker that does not answer, and owns nothing on disk.
static void on_cut(void *context)
{
    (void)context;
    ty_log(TY_LOG_WARN, "responder.left");
    _exit(0);
}

static void cancel_calls(struct ty_responder *responder)
{
    if (responder->grpc)
        ty_grpc_cancel_calls(responder->grpc);
    if (responder->http)
        ty_http_cancel_calls(responder->http);
}

static void on_grace_over(void *context)
{
    struct ty_responder *responder = context;
    ty_log(TY_LOG_WARN, "responder.calls_cut");
    cancel_calls(responder);
    ty_loop_set_timer(responder->loop, &responder->grace, CUT_MS, on_cut, responder);
}

void ty_responder_stop(struct ty_responder *responder)
{
    if (responder->stopping) {
        on_grace_over(responder);
        return;
    }
    responder->stopping = true;
    ty_log(TY_LOG_INFO, "responder.stopping");
    ty_service_stop(&responder->service);
    ty_loop_set_timer(responder->loop, &responder->grace, GRACE_MS, on_grace_over, responder);
    responder->transports = (responder->grpc ? 1u : 0u) + (responder->http ? 1u : 0u);
    if (responder->http)
        ty_http_stop(responder->http, on_stopped, responder);
    if (responder->grpc)
        ty_grpc_stop(responder->grpc, on_stopped, responder);
}

void ty_responder_reread(struct ty_responder *responder)
{
    if (responder->tls)
        ty_tls_reread(responder->tls);
}

// Ends a server whose loop does not run (any more): the failing start, or an error of the loop itself.
static void stop_now(struct ty_responder *responder)
{
    struct ty_err err;
    if ((!responder->grpc && !responder->http) || responder->stopped)
        return;
    if (!responder->stopping)
        ty_responder_stop(responder);
    cancel_calls(responder);
    while (!responder->stopped && ty_loop_run_once(responder->loop, -1, &err) == 0)
        continue;
}

void ty_responder_free(struct ty_responder *responder)
{
    if (!responder)
        return;
    stop_now(responder);
    ty_publisher_free(responder->service.publisher, 1000);
    ty_grpc_free(responder->grpc);
    ty_http_free(responder->http);
    ty_access_free(responder->service.access);
    ty_tls_free(responder->tls);
    ty_store_memory_free(responder->service.memory);
    ty_state_free(responder->service.state);
    ty_service_done(&responder->service);
    ty_catalog_free(responder->catalog);
    free(responder);
}
