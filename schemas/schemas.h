// The files of this folder as the programs carry them: bytes, NUL-terminated behind the given length.
#pragma once

#include <stddef.h>

extern const unsigned char ty_schema_topics[];
extern const size_t ty_schema_topics_len;
extern const unsigned char ty_schema_containers[];
extern const size_t ty_schema_containers_len;
extern const unsigned char ty_schema_trainers[];
extern const size_t ty_schema_trainers_len;
extern const unsigned char ty_schema_transitions[];
extern const size_t ty_schema_transitions_len;

// One Redis script of redis/, in the order of its file names; the list ends with a NULL name.
struct ty_schema_script {
    const char *name; // "apply"
    const unsigned char *source;
    size_t source_len;
};
extern const struct ty_schema_script ty_schema_scripts[];
