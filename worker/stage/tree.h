// Copies a folder that somebody else filled, file by file, and makes the list of what was copied with its digests.
// Inside trainyard-stage only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#define TY_DIGEST_TEXT 65 // 64 hexadecimal digits and the NUL

struct ty_tree_file {
    char *path; // relative, valid UTF-8 without control characters
    uint64_t bytes;
    char sha256[TY_DIGEST_TEXT];
};

struct ty_tree {
    struct ty_tree_file *files;
    size_t count, cap;
    size_t entries; // files and folders
    uint64_t bytes;
};

struct ty_tree_options {
    const char *shown;   // the source's name in errors
    const char *skip;    // a name left out at the top; NULL: none
    uint64_t max_bytes;  // 0: no bound
    bool durable;        // sync every file and folder
};

// Copies what is in `from` into the existing, empty directory `to`. Links are followed as long as they stay within `from`.
// The files of *tree are sorted by path. TY_EINVALID for a link that leads out, a bound, or a name that is not text;
// TY_ESYSTEM when a disk refuses. Notes on what is left out go to stderr.
int ty_tree_copy(const char *from, const char *to, const struct ty_tree_options *options, struct ty_tree *tree,
                 struct ty_err *err) TY_MUST_USE;
void ty_tree_done(struct ty_tree *tree);
// The digest of stage.h.
void ty_tree_digest(const struct ty_tree *tree, char out[TY_DIGEST_TEXT]);
// Of a file's bytes.
int ty_file_digest(int fd, char out[TY_DIGEST_TEXT], struct ty_err *err) TY_MUST_USE;
