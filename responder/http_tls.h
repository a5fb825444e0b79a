// The set of responder/tls.h for libmicrohttpd, which does TLS by GnuTLS: http_tls.c is the only user of that. One HTTP server a
// process. Loop thread only.
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "core/err.h"
#include "responder/tls.h"

// TLS 1.2 and 1.3 only, with what GnuTLS holds to be of 128 bits and more.
#define TY_HTTP_TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

// Takes the set, and whatever set there is later; tls is borrowed until ty_http_tls_stop.
void ty_http_tls_start(struct ty_tls *tls);
void ty_http_tls_stop(void);
// The authorities of clients' certificates, as they were at start: the library reads them once. NULL: clients are not asked.
const char *ty_http_tls_authorities(void);
// For MHD_OPTION_HTTPS_CERT_CALLBACK2: certificate and key of the moment for one handshake.
int ty_http_tls_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **ret_certs,
                         unsigned *ret_cert_count, gnutls_ocsp_data_st **ret_ocsp, unsigned *ret_ocsp_count,
                         gnutls_privkey_t *ret_key, unsigned *ret_flags);
// Whether the client of a session may call: no certificates are asked for, or its own comes from one of the authorities.
bool ty_http_tls_is_trusted(gnutls_session_t session);
