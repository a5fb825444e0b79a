// status and exit: small files written whole, by temp and rename.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "worker/exec/exec.h"

void ty_exec_boot_id(char out[64])
{
    out[0] = 0;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!file)
        return;
    if (!fgets(out, 64, file))
        out[0] = 0;
    out[strcspn(out, "\n")] = 0;
    fclose(file);
}

static int sync_dir(void)
{
    int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = dir < 0 ? -1 : fsync(dir);
    if (dir >= 0)
        close(dir);
    return rc;
}

static int write_whole(const char *name, const char *text, bool durable)
{
    char temp[64];
    snprintf(temp, sizeof temp, "%s.new", name);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    size_t len = strlen(text);
    ssize_t put = write(fd, text, len);
    if (put >= 0 && put != (ssize_t)len)
        errno = ENOSPC;
    int rc = put == (ssize_t)len ? 0 : -1;
    if (rc == 0 && durable)
        rc = fsync(fd);
    int saved = errno;
    close(fd);
    errno = saved;
    if (rc == 0)
        rc = rename(temp, name);
    if (rc == 0 && durable)
        rc = sync_dir();
    return rc;
}

int ty_exec_record_status(const struct ty_exec_step *step, pid_t step_pid, uint64_t step_started_us)
{
    char text[512], boot_id[64];
    ty_exec_boot_id(boot_id);
    snprintf(text, sizeof text,
             "format=%d\npid=%d\nstart_time=%llu\nboot_id=%s\nstep=%.64s\nstep_pid=%d\nstep_"
             "started_us=%llu\n",
             TY_EXEC_FORMAT, (int)getpid(), (unsigned long long)ty_exec_family_start_time(getpid()),
             boot_id, step ? step->name : "", (int)step_pid, (unsigned long long)step_started_us);
    return write_whole("status", text, false);
}

// One line of printable ASCII: what goes into it may come from a plan.
static void tidy(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
            *text = '?';
}

int ty_exec_record_exit(const struct ty_exec_outcome *outcome)
{
    char text[TY_EXEC_MESSAGE_BYTES + 512], message[TY_EXEC_MESSAGE_BYTES];
    memcpy(message, outcome->message, sizeof message);
    tidy(message);
    snprintf(text, sizeof text,
             "format=%d\noutcome=%s\nstep=%.64s\ncode=%d\nsignal=%d\nstarted_us=%llu\nended_us=%"
             "llu\noom=%d\n"
             "message=%s\n",
             TY_EXEC_FORMAT, outcome->word, outcome->step, outcome->code, outcome->signal_number,
             (unsigned long long)outcome->started_us, (unsigned long long)outcome->ended_us,
             outcome->oom, message);
    return write_whole("exit", text, true);
}
