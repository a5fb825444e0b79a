// Settings of trainyard-devbroker.
#pragma once

#include "core/settings.h"

struct ty_devbroker_settings {
    char *port_file;    // NULL: none is written
    char *topics;       // file; NULL: the topics built in
    char *topic_prefix; // NULL: the one of the topics
    int log_level, log_format;
};

extern const struct ty_settings_table ty_devbroker_settings_table;
