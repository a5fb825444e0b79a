#include "worker/run/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

static int start(const char *const *argv, const char *output, posix_spawnattr_t *attributes,
                 posix_spawn_file_actions_t *actions, pid_t *ret_pid)
{
    static char *nothing[] = {NULL};
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    int rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(actions, 1, output ? output : "/dev/null",
                                              output ? O_WRONLY | O_CREAT | O_APPEND : O_WRONLY, 0600);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(actions, 1, 2);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(actions, 3);
    if (rc == 0)
        rc = posix_spawn(ret_pid, argv[0], actions, attributes, (char *const *)argv, nothing);
    return rc;
}

int ty_spawn(struct ty_loop *loop, const char *const *argv, const char *output, ty_loop_child_fn fn, void *context,
             pid_t *ret_pid, struct ty_err *err)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    int rc = start(argv, output, &attributes, &actions, &pid);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (rc != 0)
        return ty_err_errno(err, rc, "cannot start %s", argv[0]);
    if (ty_loop_add_child(loop, pid, fn, context, err) < 0) {
        // Nobody would hear of its end.
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return -(int)err->code;
    }
    *ret_pid = pid;
    return 0;
}
