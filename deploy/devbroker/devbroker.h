// A broker that needs nothing installed: librdkafka's mock cluster, one broker on a free port of 127.0.0.1, with our topics
// made in it. It serves from a thread of the library; all calls here come from one thread and do not block.
#pragma once

#include <stdio.h>

#include "core/err.h"
#include "deploy/devbroker/settings.h"

struct ty_devbroker;

// What it does not do, a sentence each; the list ends with NULL. Said at the start and by --help.
extern const char *const ty_devbroker_limits[];

// Borrows settings for the call. When this returns, clients can use every topic, and the port file, if any, is written
// whole. TY_EINVALID and TY_ENOTFOUND: of the topics' file, with the place; TY_ESYSTEM: the port file or the library.
// Owner frees with ty_devbroker_free.
int ty_devbroker_new(const struct ty_devbroker_settings *settings, struct ty_devbroker **ret_broker,
                     struct ty_err *err) TY_MUST_USE;
// Everything that was written to it is gone. Accepts NULL.
void ty_devbroker_free(struct ty_devbroker *broker);

// "127.0.0.1:12345"; owned by the broker.
const char *ty_devbroker_address(const struct ty_devbroker *broker);
void ty_devbroker_print_version(FILE *out);
