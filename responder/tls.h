// The responder's certificate, its private key, and the authorities that clients' certificates must come from: read at
// start, checked, and read again when one of the files changes. A set that cannot be used (half written, a key that does
// not belong) is said in the log and leaves the last good one in service. Made, checked and freed on the loop's thread; a
// transport takes the current set from any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/loop.h"

struct ty_tls;

// Each file; larger ones are refused.
#define TY_TLS_FILE_BYTES (1024 * 1024)
// How often the files are looked at.
#define TY_TLS_LOOK_MS 1000

struct ty_tls_options {
    const char *cert_file;      // the chain in PEM, the server's own certificate first
    const char *key_file;       // its private key in PEM, without a passphrase
    const char *client_ca_file; // NULL: clients are not asked for a certificate
};

// One consistent set; all NUL-terminated PEM, the owner's.
struct ty_tls_set {
    char *cert, *key;
    char *client_ca; // NULL: none
};

// Errors name setting and file: TY_ENOTFOUND, TY_EINVALID (not readable, no PEM, a key with a passphrase, a
// key that does not belong to the certificate).
int ty_tls_new(struct ty_loop *loop, const struct ty_tls_options *options, struct ty_tls **ret_tls,
               struct ty_err *err) TY_MUST_USE;
// Only when no transport uses it any more. NULL is fine.
void ty_tls_free(struct ty_tls *tls);
// Looks at the files now, as for SIGHUP; reads them in any case.
void ty_tls_reread(struct ty_tls *tls);
bool ty_tls_asks_clients(const struct ty_tls *tls);
// Any thread: false when *generation (0 at first) is the current set; else copies it and sets *generation.
bool ty_tls_take(struct ty_tls *tls, uint64_t *generation, struct ty_tls_set *ret_set);
// Overwrites and frees what the set owns.
void ty_tls_set_done(struct ty_tls_set *set);
