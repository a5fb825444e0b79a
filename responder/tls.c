#include "responder/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/buf.h"
#include "core/file.h"
#include "core/log.h"

enum { CERT, KEY, CLIENT_CA, FILES };

static const char *const settings_of[FILES] = {"--tls-cert", "--tls-key", "--tls-client-ca"};

struct ty_tls {
    struct ty_loop *loop;
    char *paths[FILES]; // NULL: not set
    struct ty_file_seen seen[FILES];
    struct ty_timer timer;
    pthread_mutex_t mutex; // over what follows
    uint64_t generation;
    struct ty_tls_set set;
};

// ---- reading and checking ----

static void forget_text(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void ty_tls_set_done(struct ty_tls_set *set)
{
    free(set->cert);
    forget_text(set->key);
    free(set->client_ca);
    *set = (struct ty_tls_set){0};
}

static int read_text(const struct ty_tls *tls, int file, char **ret_text, struct ty_err *err)
{
    struct ty_buf bytes = {0};
    int rc = ty_file_read(tls->paths[file], TY_TLS_FILE_BYTES, &bytes, err);
    if (rc < 0) {
        ty_file_forget(&bytes);
        return ty_err_prefix(err, "%s", settings_of[file]);
    }
    *ret_text = ty_xasprintf("%s", ty_buf_text(&bytes)); // up to a NUL, where PEM ends as well
    ty_file_forget(&bytes);
    return 0;
}

// Without a question on the terminal, and without a passphrase.
static int no_passphrase(char *text, int size, int writing, void *context)
{
    (void)text;
    (void)size;
    (void)writing;
    *(bool *)context = true;
    return -1;
}

// The first certificate of a text, NULL when there is none; all that follow must be readable, too.
static X509 *read_chain(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *first = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    for (X509 *next = first; next;) {
        next = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        X509_free(next);
    }
    unsigned long last = ERR_peek_last_error();
    if (first && ERR_GET_REASON(last) != PEM_R_NO_START_LINE) {
        X509_free(first);
        first = NULL;
    }
    ERR_clear_error();
    BIO_free(bio);
    return first;
}

static EVP_PKEY *read_key(const char *text, bool *ret_encrypted)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, ret_encrypted);
    ERR_clear_error();
    BIO_free(bio);
    return key;
}

static int check_pair(const struct ty_tls *tls, const X509 *cert, const EVP_PKEY *key, bool is_encrypted,
                      struct ty_err *err)
{
    if (!cert)
        return ty_err_set(err, TY_EINVALID, "--tls-cert: %s: there is no certificate in PEM in it, or one is damaged",
                          tls->paths[CERT]);
    if (is_encrypted)
        return ty_err_set(err, TY_EINVALID, "--tls-key: %s: the key has a passphrase; it must have none", tls->paths[KEY]);
    if (!key)
        return ty_err_set(err, TY_EINVALID, "--tls-key: %s: there is no private key in PEM in it", tls->paths[KEY]);
    bool belongs = X509_check_private_key(cert, key) == 1;
    ERR_clear_error();
    if (!belongs)
        return ty_err_set(err, TY_EINVALID, "--tls-key: %s: the key does not belong to the first certificate of %s",
                          tls->paths[KEY], tls->paths[CERT]);
    return 0;
}

// A certificate that is out of date is served all the same: clients say so best, and the clock here may be what is wrong.
static void tell(const X509 *cert)
{
    char subject[256] = "";
    struct tm until = {0};
    X509_NAME_oneline(X509_get_subject_name(cert), subject, sizeof subject);
    ASN1_TIME_to_tm(X509_get0_notAfter(cert), &until);
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &until);
    bool is_valid = X509_cmp_current_time(X509_get0_notBefore(cert)) < 0 && X509_cmp_current_time(X509_get0_notAfter(cert)) > 0;
    ty_log(is_valid ? TY_LOG_INFO : TY_LOG_WARN, is_valid ? "tls.loaded" : "tls.not_valid_now",
           TY_KV("subject", "%s", subject), TY_KV("until", "%s", text));
}

static int check_set(const struct ty_tls *tls, const struct ty_tls_set *set, struct ty_err *err)
{
    bool is_encrypted = false;
    X509 *cert = read_chain(set->cert);
    EVP_PKEY *key = read_key(set->key, &is_encrypted);
    int rc = check_pair(tls, cert, key, is_encrypted, err);
    if (rc == 0 && set->client_ca) {
        X509 *authority = read_chain(set->client_ca);
        if (!authority)
            rc = ty_err_set(err, TY_EINVALID,
                            "--tls-client-ca: %s: there is no certificate in PEM in it, or one is damaged",
                            tls->paths[CLIENT_CA]);
        X509_free(authority);
    }
    if (rc == 0)
        tell(cert);
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

// What is seen is noted before it is read: a change in between is found by the next look.
static int load(struct ty_tls *tls, struct ty_err *err)
{
    struct ty_tls_set set = {0};
    for (int file = 0; file < FILES; file++)
        if (tls->paths[file])
            tls->seen[file] = ty_file_look(tls->paths[file]);
    int rc = read_text(tls, CERT, &set.cert, err);
    if (rc == 0)
        rc = read_text(tls, KEY, &set.key, err);
    if (rc == 0 && tls->paths[CLIENT_CA])
        rc = read_text(tls, CLIENT_CA, &set.client_ca, err);
    if (rc == 0)
        rc = check_set(tls, &set, err);
    if (rc < 0) {
        ty_tls_set_done(&set);
        return rc;
    }
    pthread_mutex_lock(&tls->mutex);
    ty_tls_set_done(&tls->set);
    tls->set = set;
    tls->generation++;
    pthread_mutex_unlock(&tls->mutex);
    return 0;
}

// ---- looking again ----

void ty_tls_reread(struct ty_tls *tls)
{
    struct ty_err err;
    if (load(tls, &err) < 0)
        ty_log(TY_LOG_ERROR, "tls.kept", TY_KV("error", "%s", err.message));
}

static void on_look(void *context)
{
    struct ty_tls *tls = context;
    bool changed = false;
    for (int file = 0; file < FILES && !changed; file++) {
        if (!tls->paths[file])
            continue;
        struct ty_file_seen now = ty_file_look(tls->paths[file]);
        changed = memcmp(&now, &tls->seen[file], sizeof now) != 0;
    }
    if (changed)
        ty_tls_reread(tls);
    ty_loop_set_timer(tls->loop, &tls->timer, TY_TLS_LOOK_MS, on_look, tls);
}

// ---- the set ----

int ty_tls_new(struct ty_loop *loop, const struct ty_tls_options *options, struct ty_tls **ret_tls, struct ty_err *err)
{
    struct ty_tls *tls = ty_xcalloc(1, sizeof *tls);
    pthread_mutex_init(&tls->mutex, NULL);
    tls->loop = loop;
    tls->paths[CERT] = ty_xstrdup(options->cert_file);
    tls->paths[KEY] = ty_xstrdup(options->key_file);
    tls->paths[CLIENT_CA] = options->client_ca_file ? ty_xstrdup(options->client_ca_file) : NULL;
    int rc = load(tls, err);
    if (rc < 0) {
        ty_tls_free(tls);
        return rc;
    }
    ty_loop_set_timer(loop, &tls->timer, TY_TLS_LOOK_MS, on_look, tls);
    *ret_tls = tls;
    return 0;
}

void ty_tls_free(struct ty_tls *tls)
{
    if (!tls)
        return;
    ty_loop_clear_timer(tls->loop, &tls->timer);
    for (int file = 0; file < FILES; file++)
        free(tls->paths[file]);
    ty_tls_set_done(&tls->set);
    pthread_mutex_destroy(&tls->mutex);
    free(tls);
}

bool ty_tls_asks_clients(const struct ty_tls *tls)
{
    return tls->paths[CLIENT_CA] != NULL;
}

bool ty_tls_take(struct ty_tls *tls, uint64_t *generation, struct ty_tls_set *ret_set)
{
    pthread_mutex_lock(&tls->mutex);
    bool is_new = *generation != tls->generation;
    if (is_new) {
        *generation = tls->generation;
        ret_set->cert = ty_xstrdup(tls->set.cert);
        ret_set->key = ty_xstrdup(tls->set.key);
        ret_set->client_ca = tls->set.client_ca ? ty_xstrdup(tls->set.client_ca) : NULL;
    }
    pthread_mutex_unlock(&tls->mutex);
    return is_new;
}
