// The topic settings as a responder follows it for access keys: from its beginning on, by a thread of its own, as a client without a
// group. So a revocation is in force here when Kafka has it, whether or not a worker is there to put it into the store, and
// whatever the store has become. Loop thread only; ty_key_feed_free waits for the thread, about a second where Kafka is away.
#pragma once

#include "core/kafka.h"
#include "core/keyring.h"
#include "core/loop.h"

struct ty_key_feed;

// The keyring is told what comes, and is freed afterwards. kafka is borrowed. TY_EINVALID: a property that is refused; TY_ESYSTEM.
int ty_key_feed_new(struct ty_loop *loop, const struct ty_kafka_options *kafka, struct ty_keyring *keyring, struct ty_key_feed **ret_feed,
                    struct ty_err *err) TY_MUST_USE;
void ty_key_feed_free(struct ty_key_feed *feed);
