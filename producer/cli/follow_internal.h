// What the two ways to read a log share: follow_log.c (LogService), follow_pages.c (pages of the API) and log_print.c.
#pragma once

#include "producer/cli/follow.h"
#include "trainyard/v1/log.pb-c.h"

// Prints an entry; record: what is known beside it, NULL from a server that does not say.
void ty_follow_print(struct ty_follow_log *log, const Viam__App__Mltraining__V1__TrainingJobLogEntry *entry,
                     const Trainyard__V1__LogRecord *record);
// What was printed is out now.
int ty_follow_flush(struct ty_follow_log *log, struct ty_err *err) TY_MUST_USE;
// As ty_follow_log, without tail, since and level.
int ty_follow_pages(const struct ty_cli *cli, struct ty_rpc_client *client, const char *id,
                    const struct ty_follow_options *options, struct ty_follow_log *log, struct ty_err *err) TY_MUST_USE;
