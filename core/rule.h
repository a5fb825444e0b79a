// Rules of the queues: pauses and limits that operators set, as they travel on the topic settings. Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"

#define TY_RULE_FORMAT 1
#define TY_RULE_RUNNING_MAX 1000000u
#define TY_RULE_ALL "*" // in place of an organization

enum ty_rule_kind { TY_RULE_PAUSE, TY_RULE_LIMIT };

struct ty_rule {
    enum ty_rule_kind kind;
    char *name;           // "pause/<organization>", the record's key; owned
    bool is_set;          // false: it is taken back
    uint32_t max_running; // of a limit; 0: none
};

// Allocates. organization: TY_RULE_ALL, or a name as ty_name_check has it (TY_EINVALID).
int ty_rule_name(enum ty_rule_kind kind, const char *organization, char **ret_name, struct ty_err *err) TY_MUST_USE;
// The road in for a record of the topic settings; value NULL as in Kafka. TY_EINVALID names the place: a key that is none of
// the two kinds, a value that is empty or no QueueRule, another format_version, a limit above TY_RULE_RUNNING_MAX.
int ty_rule_decode(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len, struct ty_rule *ret_rule,
                   struct ty_err *err) TY_MUST_USE;
void ty_rule_done(struct ty_rule *rule);
// The value of a rule that is set.
void ty_rule_encode(uint32_t max_running, uint64_t issued_at_us, const char *issuer, struct ty_buf *out);
