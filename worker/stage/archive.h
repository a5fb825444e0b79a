// Unpacks a script's tar.gz. Inside trainyard-stage only.
#pragma once

#include "core/err.h"

// Unpacks what archive_fd holds into the existing, empty directory `to`. Nothing is ever written outside of it: names are
// taken apart, no symbolic link is followed, and links are made last. `shown` goes before every error:
// "<shown>: archive entry \"../../etc/passwd\" leads out of the archive". TY_EINVALID for what is wrong with the archive,
// TY_ESYSTEM for the disk. *ret_root, the caller's to free, is the folder that is the archive's only entry at the top, else
// `to` itself; every link stays within it.
int ty_archive_unpack(int archive_fd, const char *to, const char *shown, char **ret_root, struct ty_err *err)
    TY_MUST_USE;
