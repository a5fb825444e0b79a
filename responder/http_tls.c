#include "responder/http_tls.h"

#include <gnutls/abstract.h>
#include <string.h>

#include "core/buf.h"
#include "core/log.h"

// Certificates of a chain; more are not sent.
#define CHAIN_MAX 16

// The library hands its callback nothing of ours.
static struct {
    struct ty_tls *tls;
    uint64_t generation;
    struct ty_tls_set set;
    char *authorities;
} serving;

void ty_http_tls_start(struct ty_tls *tls)
{
    serving.tls = tls;
    ty_tls_take(tls, &serving.generation, &serving.set);
    serving.authorities = serving.set.client_ca ? ty_xstrdup(serving.set.client_ca) : NULL;
}

void ty_http_tls_stop(void)
{
    ty_tls_set_done(&serving.set);
    ty_free_pointer(&serving.authorities);
    memset(&serving, 0, sizeof serving);
}

const char *ty_http_tls_authorities(void)
{
    return serving.authorities;
}

static void refresh(void)
{
    struct ty_tls_set set = {0};
    if (!ty_tls_take(serving.tls, &serving.generation, &set))
        return;
    ty_tls_set_done(&serving.set);
    serving.set = set;
}

static gnutls_datum_t datum(const char *text)
{
    return (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)text, .size = (unsigned)strlen(text)};
}

// What is given is the library's to free, so that a set may be replaced in the middle of a handshake.
int ty_http_tls_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **ret_certs,
                         unsigned *ret_cert_count, gnutls_ocsp_data_st **ret_ocsp, unsigned *ret_ocsp_count,
                         gnutls_privkey_t *ret_key, unsigned *ret_flags)
{
    unsigned count = CHAIN_MAX;
    gnutls_privkey_t key = NULL;
    (void)session;
    (void)info;
    refresh();
    gnutls_datum_t cert_text = datum(serving.set.cert), key_text = datum(serving.set.key);
    gnutls_pcert_st *certs = gnutls_malloc(CHAIN_MAX * sizeof *certs);
    int rc = certs ? gnutls_pcert_list_import_x509_raw(certs, &count, &cert_text, GNUTLS_X509_FMT_PEM, 0) : GNUTLS_E_MEMORY_ERROR;
    if (rc < 0)
        count = 0;
    if (rc >= 0)
        rc = gnutls_privkey_init(&key);
    if (rc >= 0)
        rc = gnutls_privkey_import_x509_raw(key, &key_text, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc < 0) {
        ty_log(TY_LOG_ERROR, "http.tls_set", TY_KV("error", "%s", gnutls_strerror(rc)));
        for (unsigned i = 0; i < count; i++)
            gnutls_pcert_deinit(&certs[i]);
        gnutls_free(certs);
        if (key)
            gnutls_privkey_deinit(key);
        return -1;
    }
    *ret_certs = certs;
    *ret_cert_count = count;
    *ret_ocsp = NULL;
    *ret_ocsp_count = 0;
    *ret_key = key;
    *ret_flags = GNUTLS_CERT_RETR_DEINIT_ALL;
    return 0;
}

bool ty_http_tls_is_trusted(gnutls_session_t session)
{
    unsigned status = 0;
    return !serving.authorities || (gnutls_certificate_verify_peers2(session, &status) == GNUTLS_E_SUCCESS && !status);
}
