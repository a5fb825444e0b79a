// The program as a whole: from settings to a served port and back. Loop thread only.
#pragma once

#include "core/err.h"
#include "core/loop.h"
#include "responder/settings.h"

struct ty_responder;

// Connects to the store and Kafka in the background (neither need be there), listens and serves. TY_EINVALID: a wrong
// setting or catalogue; TY_EUNAVAILABLE: the address cannot be bound. Free with ty_responder_free.
int ty_responder_start(struct ty_loop *loop, const struct ty_responder_settings *settings,
                       struct ty_responder **ret_responder, struct ty_err *err) TY_MUST_USE;
// Ends gracefully: NOT_SERVING, no new calls, running ones get 5 seconds; a second call does not wait for them. Stops
// the loop when done.
void ty_responder_stop(struct ty_responder *responder);
// Reads the certificate files again; nothing happens without TLS.
void ty_responder_reread(struct ty_responder *responder);
void ty_responder_free(struct ty_responder *responder);
