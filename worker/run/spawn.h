// Starting a program of ours: posix_spawn only, since other threads of the process hold locks of their own. The child has an
// empty environment, default signals, none blocked, no descriptor of ours, a session of its own. Loop thread.
#pragma once

#include <sys/types.h>

#include "core/err.h"
#include "core/loop.h"

// argv[0] is an absolute path. Output of the child goes to the file `output` (appended), or nowhere when NULL. fn reports
// its end, once. TY_ESYSTEM when it cannot be started.
int ty_spawn(struct ty_loop *loop, const char *const *argv, const char *output, ty_loop_child_fn fn, void *context,
             pid_t *ret_pid, struct ty_err *err) TY_MUST_USE;
