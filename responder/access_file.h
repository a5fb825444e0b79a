// The file with the secrets that tokens are signed with: read at the start, and again when it has changed. Loop thread only.
#pragma once

#include "core/loop.h"
#include "responder/access_token.h"

struct ty_access_file;

// path is borrowed. TY_ENOTFOUND; TY_EINVALID: it is no regular file, others may read or the group may write it, or as
// ty_access_secrets_parse; TY_ESYSTEM.
int ty_access_file_open(struct ty_loop *loop, const char *path, struct ty_access_file **ret_file, struct ty_err *err) TY_MUST_USE;
void ty_access_file_close(struct ty_access_file *file);
// What is in force; borrowed until the next turn of the loop.
const struct ty_access_secrets *ty_access_file_secrets(const struct ty_access_file *file);
