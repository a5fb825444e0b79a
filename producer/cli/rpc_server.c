// Where the responder is, and how it is spoken to: its address in any of the forms, plaintext or TLS.
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/file.h"
#include "producer/cli/rpc_internal.h"

#define PEM_BYTES (4 * 1024 * 1024)

static bool is_set(const char *text)
{
    return text && *text;
}

static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || !colon[1] || strlen(colon + 1) > 5 || colon[1 + strspn(colon + 1, "0123456789")])
        return false;
    long port = strtol(colon + 1, NULL, 10);
    bool is_bracketed = *text == '[' && colon[-1] == ']';
    return port > 0 && port <= 65535 && (is_bracketed || !memchr(text, ':', (size_t)(colon - text))) &&
           !strpbrk(text, "/ \t\n");
}

// "host", "[address]": without a port.
static bool has_no_port(const char *text)
{
    const char *bracket = *text == '[' ? strchr(text, ']') : NULL;
    return *text && (bracket ? !bracket[1] : !strchr(text, ':'));
}

int ty_rpc_server_parse(const struct ty_rpc_client_options *options, char **ret_address, bool *ret_tls, struct ty_err *err)
{
    const char *text = options->server;
    bool is_https = !strncmp(text, "https://", 8), is_http = !strncmp(text, "http://", 7);
    bool wants_tls = options->tls || is_set(options->tls_ca) || is_set(options->tls_cert) || is_set(options->tls_key);
    const char *rest = text + (is_https ? 8 : is_http ? 7 : 0);
    size_t len = strlen(rest);
    if ((is_http || is_https) && len && rest[len - 1] == '/')
        len--;
    char *address TY_FREE = ty_xasprintf("%.*s", (int)len, rest);
    if ((is_http || is_https) && has_no_port(address)) {
        char *with_port = ty_xasprintf("%s:%d", address, is_https ? 443 : 80);
        free(address);
        address = with_port;
    }
    if (!is_address(address))
        return ty_err_set(err, TY_EINVALID, "--server: \"%.128s\" is not of the form host:port, [address]:port or https://host[:port]",
                          text);
    if (is_http && wants_tls)
        return ty_err_set(err, TY_EINVALID, "--server: \"%.128s\" means plaintext, and TLS is asked for as well", text);
    *ret_tls = is_https || wants_tls;
    *ret_address = address;
    address = NULL;
    return 0;
}

static int read_pem(const char *flag, const char *path, struct ty_buf *out, struct ty_err *err)
{
    if (!is_set(path))
        return 0;
    if (ty_file_read(path, PEM_BYTES, out, err) < 0)
        return ty_err_prefix(err, "%s", flag);
    if (!strstr(ty_buf_text(out), "-----BEGIN "))
        return ty_err_set(err, TY_EINVALID, "%s: %s: there is nothing in PEM in it", flag, path);
    return 0;
}

int ty_rpc_credentials(const struct ty_rpc_client_options *options, bool tls, grpc_channel_credentials **ret_credentials,
                       struct ty_err *err)
{
    TY_BUF(authorities);
    TY_BUF(cert);
    struct ty_buf key TY_CLEANUP(ty_file_forget) = {0};
    if (!tls) {
        *ret_credentials = grpc_insecure_credentials_create();
        return 0;
    }
    if (is_set(options->tls_cert) != is_set(options->tls_key))
        return ty_err_set(err, TY_EINVALID, "--tls-cert and --tls-key go together; one of them is missing");
    if (read_pem("--tls-ca", options->tls_ca, &authorities, err) < 0 ||
        read_pem("--tls-cert", options->tls_cert, &cert, err) < 0 || read_pem("--tls-key", options->tls_key, &key, err) < 0)
        return -(int)err->code;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = ty_buf_text(&key), .cert_chain = ty_buf_text(&cert)};
    *ret_credentials = grpc_ssl_credentials_create(authorities.len ? ty_buf_text(&authorities) : NULL,
                                                   cert.len ? &pair : NULL, NULL, NULL);
    if (!*ret_credentials)
        return ty_err_set(err, TY_EINVALID, "TLS: the certificates cannot be used");
    return 0;
}
