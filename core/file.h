// Small files that a setting names: certificates, keys, secrets. Any thread; blocks on the disk, so it is for start, and for
// re-reading what has changed.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"

// What was seen of a file when it was looked at; a change of any of it means that the file is to be read again. A link is
// followed, so that a directory of links that is swapped in one step counts as changed.
struct ty_file_seen {
    uint64_t device, inode, size;
    int64_t changed_ns;
};

// Adds the whole file to out. TY_ENOTFOUND: there is no such file; TY_EINVALID: it is no regular file, may not be
// read, or is larger than max_bytes; TY_ESYSTEM else. The message begins with the path.
int ty_file_read(const char *path, size_t max_bytes, struct ty_buf *out, struct ty_err *err) TY_MUST_USE;
// All zero when the file is not there.
struct ty_file_seen ty_file_look(const char *path);
// Overwrites what a buffer holds, then frees it: for what is secret.
void ty_file_forget(struct ty_buf *buf);
