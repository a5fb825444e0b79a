// Which jobs a verb is to work on, by --filter: read from the responder's lists, over as many organizations and states as the
// filters name. Blocks.
#pragma once

#include "core/id.h"
#include "producer/cli/filter.h"
#include "producer/cli/job.h"
#include "producer/cli/verb.h"

#define TY_SELECT_KEYS_HELP                                                                                                \
    "  organization=ID (must be given), status=STATE, model=NAME, version=VERSION, script=PREFIX:NAME, dataset=ID,\n"      \
    "  container=KEY, tag=TAG, label=KEY or label=KEY=VALUE, older-than=AGE (90s, 15m, 12h, 30d since it was submitted).\n" \
    "  A value that ends in * stands for all that begin so. Different keys must all fit, of one key given twice either.\n"

struct ty_select;

// texts: of --filter. states: those that the verb can do something with, ended by 0, and that are meant when no status is given. what:
// "can be canceled", for the error about another status. TY_EINVALID as ty_filters_parse, and without an organization.
int ty_select_new(char *const *texts, const int *states, const char *what, struct ty_select **ret_select,
                  struct ty_err *err) TY_MUST_USE;
void ty_select_free(struct ty_select *select);

// One pass over the lists: fn for each job that fits and had not fitted in an earlier pass; job is borrowed. Each adds to ret_pass.
struct ty_select_pass {
    size_t fitting; // jobs that fit now, also those of earlier passes
    size_t fresh;   // of them for the first time
    bool is_cut;    // a list of a responder before JobService was too long for one answer: there are older jobs that nobody looked at
};
typedef void (*ty_select_fn)(void *context, const TyJobMetadata *job);
int ty_select_pass(struct ty_select *select, struct ty_rpc_client *client, uint64_t now_us, ty_select_fn fn, void *context,
                   struct ty_select_pass *ret_pass, struct ty_err *err) TY_MUST_USE;
