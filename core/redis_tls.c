#include "core/redis_tls.h"

#ifdef TY_HIREDIS_TLS

#include <arpa/inet.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

bool ty_redis_has_tls(void)
{
    return true;
}

// hiredis' own contexts do not compare the name in the certificate, so the session is made here.
static SSL *new_session(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    bool is_address = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *session = NULL;
    if (context && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 && SSL_CTX_set_default_verify_paths(context) == 1) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        session = SSL_new(context);
    }
    SSL_CTX_free(context); // the session has it, too
    if (session && is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host) == 1
                              : session && SSL_set1_host(session, host) == 1 && SSL_set_tlsext_host_name(session, host) == 1)
        return session;
    SSL_free(session);
    return NULL;
}

int ty_redis_tls_start(redisAsyncContext *connection, const char *host, struct ty_err *err)
{
    SSL *session = new_session(host);
    if (!session)
        return ty_err_set(err, TY_EUNAVAILABLE, "TLS cannot be set up");
    if (redisInitiateSSL(&connection->c, session) == REDIS_OK)
        return 0;
    return ty_err_set(err, TY_EUNAVAILABLE, "TLS: %s", connection->c.errstr); // hiredis has freed the session
}

#else

bool ty_redis_has_tls(void)
{
    return false;
}

int ty_redis_tls_start(redisAsyncContext *connection, const char *host, struct ty_err *err)
{
    (void)connection;
    (void)host;
    return ty_err_set(err, TY_EUNIMPLEMENTED, "this build's hiredis has no TLS");
}

#endif
