// The responder's settings, from flags, environment and file.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/settings.h"

enum ty_responder_auth { TY_AUTH_NONE, TY_AUTH_KEYS };

struct ty_responder_settings {
    char *listen;
    char *port_file;
    char *http_listen, *http_port_file;
    char **http_origins;
    int64_t http_max_connections, http_max_per_address;
    bool insecure;
    int auth; // enum ty_responder_auth
    char *token_secret_file;
    int64_t token_hours, failed_logins;
    char *default_organization;
    char *tls_cert, *tls_key, *tls_client_ca;
    char *redis, *redis_password_file;
    int64_t redis_timeout_ms;
    int64_t shards;
    int64_t max_followers;
    int64_t store_budget_bytes, store_admit_percent;
    char *kafka_brokers;
    char *topic_prefix;
    char **kafka_properties;
    char *signing_key_file;
    char *catalog_dir;
    int log_level;  // enum ty_log_level
    int log_format; // enum ty_log_format
};

extern const struct ty_settings_table ty_responder_settings_table;

// Splits "host:port" or "[v6]:port" and refuses, unless insecure is set, an address other than loopback without TLS or
// without clients that say who they are. *ret_host is the caller's to free. TY_EINVALID names --listen, or the TLS setting
// that does not go without another.
int ty_responder_listen_address(const struct ty_responder_settings *settings, char **ret_host, unsigned *ret_port,
                                struct ty_err *err) TY_MUST_USE;
// The same for HTTP, with --http-listen. *ret_host is NULL where it is off.
int ty_responder_http_address(const struct ty_responder_settings *settings, char **ret_host, unsigned *ret_port,
                              struct ty_err *err) TY_MUST_USE;
// "localhost", or an address of 127.0.0.0/8 or ::1.
bool ty_responder_is_loopback(const char *host);
