// Who calls, and what they may: log-in by key, the token of every other call, and the organization of what is asked for. Loop
// thread only; nothing blocks but the reading of a small local file.
//
// A token is judged without asking anybody: by its signature, its time, and the keyring, which follows the keys in Kafka and reads those of
// the store every second. So a revocation is in force here within TY_KEYRING_FRESH_MS; when the keys could not be read for that
// long, from either, nothing can be said of a key and calls are answered with UNAVAILABLE.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/kafka.h"
#include "core/loop.h"
#include "core/record.h"
#include "core/state.h"
#include "responder/rpc.h"

struct ty_access;

struct ty_access_options {
    bool is_on;                       // false: everybody may do everything; log-ins are answered all the same
    const char *secret_file;          // what tokens are signed with; NULL or "": a random secret, of this process only
    uint64_t token_life_s;
    unsigned failed_logins;           // a minute, for each address and each key; 0: no limit
    const struct ty_kafka_options *kafka; // where keys are followed beside the store; needed until ty_access_new returns
    const char *default_organization; // what clients are told to be in while it is off
};

// The texts are borrowed, and so is state, which is freed only afterwards. TY_EINVALID, TY_ENOTFOUND, TY_ESYSTEM: the secret file, by
// its name. It is read again when it has changed; one that is wrong then is said in the log, and what was in force stays.
int ty_access_new(struct ty_loop *loop, struct ty_state *state, const struct ty_access_options *options,
                  struct ty_access **ret_access, struct ty_err *err) TY_MUST_USE;
void ty_access_free(struct ty_access *access);
bool ty_access_is_on(const struct ty_access *access);

// For ty_rpc_calls: whether this call may be made at all; then the principal of it is set. TY_EUNAUTHENTICATED: no token, or none that
// is good; TY_EPERMISSION: its role is not enough; TY_EUNAVAILABLE: nobody can say.
int ty_access_admit(struct ty_rpc *rpc, struct ty_err *err) TY_MUST_USE;

// The token that proves this key, or why not: TY_EUNAUTHENTICATED, TY_EINVALID, TY_EUNIMPLEMENTED (kinds of credentials that are not
// taken), TY_EEXHAUSTED (too many failures), TY_EUNAVAILABLE. entity and payload may be any text.
int ty_access_log_in(struct ty_access *access, const char *peer, const char *entity, const char *type, const char *payload,
                     struct ty_buf *ret_token, struct ty_err *err) TY_MUST_USE;
// Of the principal, or the default one.
const char *ty_access_organization(const struct ty_access *access, const struct ty_rpc *rpc);

// ---- for the handlers ----

// Whether the caller may use this organization, which it named itself. False after having answered PERMISSION_DENIED.
bool ty_access_needs_organization(struct ty_rpc *rpc, const char *organization);
// Whether the caller may know that there is such a job: else it is to be answered as if there were none.
bool ty_access_may_see(const struct ty_rpc *rpc, const char *organization, size_t len);
bool ty_access_may_see_job(const struct ty_rpc *rpc, const struct ty_record *record);
// Of a call that goes on for long: 0 while its token still holds; else as ty_access_admit.
int ty_access_check_again(const struct ty_rpc *rpc, struct ty_err *err) TY_MUST_USE;
