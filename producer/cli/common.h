// The settings that every verb takes, and a verb's whole table of settings.
#pragma once

#include "producer/cli/verb.h"

extern const struct ty_setting ty_cli_common_rows[];
extern const size_t ty_cli_common_count;

// The verb's rows, then the common ones; with needed_only those of the common ones that the verb has a use for (its
// help shows no others). program is "trainyard VERB". Freed with ty_cli_table_done.
struct ty_cli_settings {
    struct ty_settings_table table;
    struct ty_setting *rows;
    char *program;
};
void ty_cli_settings_init(struct ty_cli_settings *settings, const struct ty_cli_verb *verb, bool needed_only);
void ty_cli_settings_done(struct ty_cli_settings *settings);
