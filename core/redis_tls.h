// TLS to Redis, where hiredis has it (hiredis_ssl, from version 1.0 on; looked for when the build is configured). Inside the Redis door
// only.
#pragma once

#include <hiredis/async.h>
#include <stdbool.h>

#include "core/err.h"

// Whether this build has it.
bool ty_redis_has_tls(void);
// For a connection that has been asked for and is not there yet: TLS 1.2 or later, with a certificate for `host` that the system's
// authorities (or SSL_CERT_FILE and SSL_CERT_DIR, as OpenSSL has them) stand for. TY_EUNAVAILABLE. Without TLS: TY_EUNIMPLEMENTED.
int ty_redis_tls_start(redisAsyncContext *connection, const char *host, struct ty_err *err) TY_MUST_USE;
