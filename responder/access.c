#include "responder/access.h"

#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/keyring.h"
#include "core/log.h"
#include "responder/access_file.h"
#include "responder/access_token.h"
#include "responder/key_feed.h"
#include "responder/login_limit.h"
#include "responder/service.h"

// A token that is younger than this, of a key that is not known here, may be one that another responder has read a moment ago.
#define FRESH_TOKEN_S 10
// What a log-in gives while nobody is asked who they are. It is no secret.
#define OPEN_TOKEN "trainyard-without-authentication"

struct ty_access {
    struct ty_loop *loop;
    struct ty_access_options options;
    struct ty_keyring *keyring; // NULL: it is off
    struct ty_key_feed *feed;
    struct ty_access_file *file;
    struct ty_access_secrets own; // without a file
    struct ty_login_limit limit;
    uint64_t logged_ms;  // when a failed log-in was last said
    unsigned not_logged; // since then
};

int ty_access_new(struct ty_loop *loop, struct ty_state *state, const struct ty_access_options *options,
                  struct ty_access **ret_access, struct ty_err *err)
{
    struct ty_access *access = ty_xcalloc(1, sizeof *access);
    access->loop = loop;
    access->options = *options;
    ty_login_limit_init(&access->limit, options->failed_logins);
    ty_access_secrets_random(&access->own);
    if (options->is_on && options->secret_file && *options->secret_file &&
        ty_access_file_open(loop, options->secret_file, &access->file, err) < 0) {
        ty_access_free(access);
        return -(int)err->code;
    }
    if (options->is_on) {
        access->keyring = ty_keyring_new(loop, state);
        if (ty_key_feed_new(loop, options->kafka, access->keyring, &access->feed, err) < 0) {
            ty_access_free(access);
            return -(int)err->code;
        }
    }
    if (options->is_on && !access->file)
        ty_log(TY_LOG_WARN, "access.own_secret", TY_KV("message", "%s",
               "there is no --token-secret-file: tokens are signed with a secret of this process, so that no other responder takes them, "
               "nor this one after a restart"));
    *ret_access = access;
    return 0;
}

void ty_access_free(struct ty_access *access)
{
    if (!access)
        return;
    ty_key_feed_free(access->feed);
    ty_keyring_free(access->keyring);
    ty_access_file_close(access->file);
    ty_access_secrets_wipe(&access->own);
    free(access);
}

bool ty_access_is_on(const struct ty_access *access)
{
    return access->options.is_on;
}

static const struct ty_access_secrets *secrets_of(const struct ty_access *access)
{
    return access->file ? ty_access_file_secrets(access->file) : &access->own;
}

static struct ty_access *access_of(const struct ty_rpc *rpc)
{
    const struct ty_service *service = ty_rpc_context(rpc);
    return service->access;
}

static int64_t now_s(void)
{
    return (int64_t)(ty_clock_wall_us() / 1000000);
}

// ---- the token of a call ----

// Metadata keys are in lower case on every transport.
static int find_token(const struct ty_rpc *rpc, const char **ret_token, size_t *ret_len, struct ty_err *err)
{
    static const char name[] = "authorization", prefix[] = "Bearer ";
    const char *key, *value, *found = NULL;
    size_t key_len, value_len, found_len = 0, count = 0;
    for (size_t i = 0; ty_rpc_metadata(rpc, i, &key, &key_len, &value, &value_len); i++)
        if (key_len == sizeof name - 1 && !memcmp(key, name, key_len)) {
            found = value;
            found_len = value_len;
            count++;
        }
    if (count != 1)
        return ty_err_set(err, TY_EUNAUTHENTICATED, count ? "there is more than one authorization header"
                                                          : "there is no authorization header; log in first (AuthService.Authenticate)");
    if (found_len < sizeof prefix || memcmp(found, prefix, sizeof prefix - 1) != 0)
        return ty_err_set(err, TY_EUNAUTHENTICATED, "the authorization header is not of the form \"Bearer TOKEN\"");
    *ret_token = found + sizeof prefix - 1;
    *ret_len = found_len - (sizeof prefix - 1);
    return 0;
}

// What is known of the token's key. The token itself says that there was one.
static int judge(const struct ty_access *access, const struct ty_id *key_id, int64_t issued_s, struct ty_err *err)
{
    const struct ty_key *key;
    int rc = ty_keyring_find(access->keyring, key_id, &key, err);
    if (rc == -TY_EPERMISSION)
        return ty_err_set(err, TY_EUNAUTHENTICATED, "the key of this access token was revoked");
    if (rc == -TY_ENOTFOUND && now_s() - issued_s < FRESH_TOKEN_S)
        return ty_err_set(err, TY_EUNAVAILABLE, "the key of this access token is not known here yet; try again");
    if (rc == -TY_ENOTFOUND)
        return ty_err_set(err, TY_EUNAUTHENTICATED, "the key of this access token is not known");
    return rc;
}

static enum ty_key_role role_needed(enum ty_access_needed needed)
{
    switch (needed) {
    case TY_NEEDS_READ: return TY_ROLE_READ;
    case TY_NEEDS_SUBMIT: return TY_ROLE_SUBMIT;
    default: return TY_ROLE_OWNER; // also what nobody has thought of
    }
}

int ty_access_admit(struct ty_rpc *rpc, struct ty_err *err)
{
    struct ty_access *access = access_of(rpc);
    enum ty_access_needed needed = ty_rpc_access(rpc);
    struct ty_access_claims claims = {0};
    const char *token = NULL;
    size_t len = 0;
    if (needed == TY_NEEDS_NOTHING || !access->options.is_on)
        return 0;
    if (find_token(rpc, &token, &len, err) < 0 || ty_access_token_decode(secrets_of(access), token, len, now_s(), &claims, err) < 0 ||
        judge(access, &claims.key_id, claims.issued_s, err) < 0)
        return -(int)err->code;
    enum ty_key_role role = role_needed(needed);
    if (claims.role < role)
        return ty_err_set(err, TY_EPERMISSION, "this call needs a key of the role %s; this one's is %s", ty_key_role_name(role),
                          ty_key_role_name(claims.role));
    struct ty_principal principal = {.is_known = true, .key_id = claims.key_id, .role = claims.role, .issued_s = claims.issued_s,
                                     .expires_s = claims.expires_s};
    memcpy(principal.organization, claims.organization, sizeof principal.organization);
    ty_rpc_set_principal(rpc, &principal);
    return 0;
}

int ty_access_check_again(const struct ty_rpc *rpc, struct ty_err *err)
{
    const struct ty_access *access = access_of(rpc);
    const struct ty_principal *principal = ty_rpc_principal(rpc);
    if (!access->options.is_on || ty_rpc_access(rpc) == TY_NEEDS_NOTHING)
        return 0;
    if (!principal->is_known || principal->expires_s <= now_s())
        return ty_err_set(err, TY_EUNAUTHENTICATED, "the access token has expired; log in again");
    return judge(access, &principal->key_id, principal->issued_s, err);
}

// ---- logging in ----

// Those of Viam's clients. Others are refused as unknown.
static const char *const known_types[] = {"api-key", "robot-secret", "robot-location-secret", "external", "oauth-web-auth"};

static int check_type(const struct ty_access *access, const char *type, struct ty_err *err)
{
    size_t i = 0, count = sizeof known_types / sizeof *known_types;
    while (i < count && strcmp(known_types[i], type) != 0)
        i++;
    if (i == count)
        return ty_err_set(err, TY_EINVALID, *type ? "credentials.type is not known" : "credentials.type is empty");
    if (i && access->options.is_on)
        return ty_err_set(err, TY_EUNIMPLEMENTED, "credentials of the type %s are not taken here; use api-key", type);
    return 0;
}

// At most one a second: whoever fails often does not write the log.
static void say_failed(struct ty_access *access, const char *peer, const char *entity)
{
    uint64_t now_ms = ty_clock_mono_ms();
    if (access->logged_ms && now_ms - access->logged_ms < 1000) {
        access->not_logged++;
        return;
    }
    ty_log(TY_LOG_WARN, "access.login_failed", TY_KV("peer", "%s", peer), TY_KV("key_id", "%.64s", entity),
           TY_KV("not_logged_before", "%u", access->not_logged));
    access->logged_ms = now_ms;
    access->not_logged = 0;
}

// The same words whatever was wrong: whoever does not have the secret learns nothing of the key.
static int refuse(struct ty_access *access, const char *peer, const char *entity, struct ty_err *err)
{
    bool may = ty_login_limit_key_may(&access->limit, entity, ty_clock_mono_ms());
    ty_login_limit_failed(&access->limit, peer, entity, ty_clock_mono_ms());
    say_failed(access, peer, entity);
    return may ? ty_err_set(err, TY_EUNAUTHENTICATED, "the key's id or its secret is wrong, or the key was revoked")
               : ty_err_set(err, TY_EEXHAUSTED, "too many log-ins with this key's id have failed; try again in a minute");
}

static void issue(struct ty_access *access, const struct ty_key *key, struct ty_buf *out)
{
    int64_t now = now_s();
    struct ty_access_claims claims = {.key_id = key->id, .role = key->role, .issued_s = now,
                                      .expires_s = now + (int64_t)access->options.token_life_s};
    memcpy(claims.organization, key->organization, sizeof claims.organization);
    ty_access_token_encode(secrets_of(access), &claims, out);
}

// Who has the secret is let in also while others fail with his key's id: nobody can lock him out by it.
int ty_access_log_in(struct ty_access *access, const char *peer, const char *entity, const char *type, const char *payload,
                     struct ty_buf *ret_token, struct ty_err *err)
{
    static const struct ty_key nobody;
    const struct ty_key *key = &nobody;
    struct ty_id id = {0};
    uint8_t hash[TY_SHA256_BYTES];
    struct ty_err ignored;
    if (check_type(access, type, err) < 0)
        return -(int)err->code;
    if (!access->options.is_on) {
        ty_buf_add_text(ret_token, OPEN_TOKEN);
        return 0;
    }
    if (!ty_login_limit_peer_may(&access->limit, peer, ty_clock_mono_ms()))
        return ty_err_set(err, TY_EEXHAUSTED, "too many log-ins from this address have failed; try again in a minute");
    bool is_id = ty_id_parse(entity, &id, &ignored) == 0;
    int rc = ty_keyring_find(access->keyring, &id, &key, err);
    if (rc == -TY_EUNAVAILABLE)
        return rc;
    ty_key_hash(payload, strlen(payload), hash);
    bool is_right = ty_crypto_equal(hash, key->proof, sizeof hash);
    if (!is_id || rc < 0 || key->kind != TY_KEY_API || !is_right)
        return refuse(access, peer, entity, err);
    issue(access, key, ret_token);
    return 0;
}

const char *ty_access_organization(const struct ty_access *access, const struct ty_rpc *rpc)
{
    const struct ty_principal *principal = ty_rpc_principal(rpc);
    return principal->is_known ? principal->organization : access->options.default_organization;
}

// ---- for the handlers ----

bool ty_access_may_see(const struct ty_rpc *rpc, const char *organization, size_t len)
{
    const struct ty_principal *principal = ty_rpc_principal(rpc);
    if (!ty_access_is_on(access_of(rpc)))
        return true;
    return principal->is_known && strlen(principal->organization) == len && !memcmp(principal->organization, organization, len);
}

bool ty_access_may_see_job(const struct ty_rpc *rpc, const struct ty_record *record)
{
    return ty_access_may_see(rpc, record->organization, record->organization_len);
}

bool ty_access_needs_organization(struct ty_rpc *rpc, const char *organization)
{
    struct ty_err err;
    if (ty_access_may_see(rpc, organization, strlen(organization)))
        return true;
    ty_err_set(&err, TY_EPERMISSION, "the key is not of this organization");
    ty_rpc_fail(rpc, &err);
    return false;
}
