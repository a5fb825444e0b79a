// TLS for gRPC's server: the library asks for the current certificate with each handshake, on a thread of its own. TLS 1.2
// and 1.3, ALPN h2 (a client that does not offer it is refused) and the cipher suites are the library's.
#include <grpc/grpc_security.h>

#include "core/log.h"
#include "responder/grpc_internal.h"

static grpc_ssl_certificate_config_reload_status fetch(void *context, grpc_ssl_server_certificate_config **ret_config)
{
    struct ty_grpc *grpc = context;
    struct ty_tls_set set = {0};
    if (!ty_tls_take(grpc->tls, &grpc->tls_generation, &set))
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = set.key, .cert_chain = set.cert};
    // Debian's library, which has its debug assertions on, dies without authorities. Where clients are not asked for a
    // certificate nothing is compared with them.
    *ret_config = grpc_ssl_server_certificate_config_create(set.client_ca ? set.client_ca : set.cert, &pair, 1);
    ty_tls_set_done(&set);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

grpc_server_credentials *ty_grpc_credentials(struct ty_grpc *grpc)
{
    if (!grpc->tls)
        return grpc_insecure_server_credentials_create();
    grpc_ssl_client_certificate_request_type asked = ty_tls_asks_clients(grpc->tls)
                                                         ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                                         : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(asked, fetch, grpc));
}
