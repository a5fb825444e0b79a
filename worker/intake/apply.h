// Preparing records: from the bytes of a Kafka record to one command for the store, or to the reason why there is none.
// Pure: no I/O, no clock.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/catalog.h"
#include "core/command.h"
#include "core/err.h"
#include "core/state.h"

struct ty_prepared {
    bool has_command;       // there is something to apply: the command, or the FAILED job of a refused submit
    bool is_refused;        // the record goes to dead-letter; err of ty_prepare says why
    bool is_undecoded;      // refused because it is no command at all
    bool has_signer;        // a cancel or delete that is for jobs of one organization only, which stands in the arena
    struct ty_apply command; // record and organization_id are set by ty_prepared_command
    size_t record_at, organization_at; // in the arena
};

// Appends what the store is given of the record to arena, which only grows meanwhile. err is filled when is_refused.
void ty_prepare(const struct ty_catalog *catalog, enum ty_topic_kind topic_kind, const uint8_t *key, size_t key_len,
                const uint8_t *value, size_t value_len, uint64_t time_us, struct ty_buf *arena,
                struct ty_prepared *ret_prepared, struct ty_err *err);
// The command, pointing into the arena: valid until something is added to it.
struct ty_apply ty_prepared_command(const struct ty_prepared *prepared, const struct ty_buf *arena);
