// Paths of the store and small files. Inside trainyard-stage only.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/buf.h"
#include "core/err.h"

// Opens a directory; TY_ESYSTEM when it is not there or none, since the store and the attempt's directory must be.
int ty_store_open_dir(const char *path, int *ret_fd, struct ty_err *err) TY_MUST_USE;
// Makes dir_fd/name if it is not there, syncs dir_fd then, and opens it. name may not be a symbolic link.
int ty_store_make_dir(int dir_fd, const char *name, int *ret_fd, struct ty_err *err) TY_MUST_USE;
// Replaces dir/name by the text, durably: temp, fsync, rename, fsync of the directory.
int ty_store_write(const char *dir, const char *name, const char *text, struct ty_err *err) TY_MUST_USE;
// Removes dir_fd/name with all that is in it; no error when it is not there.
int ty_store_remove(int dir_fd, const char *name, struct ty_err *err) TY_MUST_USE;

// Natural order: runs of digits compare as numbers, everything else byte by byte. <0, 0, >0 as strcmp.
int ty_store_compare_versions(const char *a, const char *b);

void ty_close_fd(int *fd);
#define TY_FD(name) int name TY_CLEANUP(ty_close_fd) = -1
