#include "worker/run/job_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define FD(name) int name TY_CLEANUP(close_fd) = -1

int ty_job_dir_make(const char *dir, struct ty_err *err)
{
    static const char *const folders[] = {"input", "output", "home", "tmp"};
    if (mkdir(dir, 0700) < 0)
        return errno == EEXIST ? ty_err_set(err, TY_EEXISTS, "%s: is there already", dir)
                               : ty_err_errno(err, errno, "%s", dir);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path TY_FREE = ty_xasprintf("%s/%s", dir, folders[i]);
        if (mkdir(path, 0700) < 0)
            return ty_err_errno(err, errno, "%s", path);
    }
    return 0;
}

static int write_file(const char *path, const void *bytes, size_t len, struct ty_err *err)
{
    FD(fd);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return ty_err_errno(err, errno, "%s", path);
    for (size_t at = 0; at < len;) {
        ssize_t put = write(fd, (const char *)bytes + at, len - at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return ty_err_errno(err, put < 0 ? errno : ENOSPC, "%s", path);
        at += (size_t)put;
    }
    return 0;
}

int ty_job_dir_write(const char *dir, const char *name, const void *bytes, size_t len, struct ty_err *err)
{
    char *path TY_FREE = ty_xasprintf("%s/%s", dir, name);
    char *aside TY_FREE = ty_xasprintf("%s.new", path);
    if (write_file(aside, bytes, len, err) < 0)
        return -(int)err->code;
    if (rename(aside, path) < 0)
        return ty_err_errno(err, errno, "%s", path);
    return 0;
}

int ty_job_dir_read(const char *dir, const char *name, struct ty_buf *out, struct ty_err *err)
{
    char *path TY_FREE = ty_xasprintf("%s/%s", dir, name);
    FD(fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return ty_err_set(err, TY_ENOTFOUND, "%s: is not there", path);
    if (fd < 0)
        return ty_err_errno(err, errno, "%s", path);
    for (;;) {
        ssize_t got = read(fd, ty_buf_reserve(out, 4096), 4096);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ty_err_errno(err, errno, "%s", path);
        if (got == 0)
            return 0;
        out->len += (size_t)got;
        if (out->len > TY_JOB_FILE_BYTES)
            return ty_err_set(err, TY_EDATALOSS, "%s: is larger than %u bytes", path, TY_JOB_FILE_BYTES);
    }
}

bool ty_job_dir_has(const char *dir, const char *name)
{
    char *path TY_FREE = ty_xasprintf("%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

char *ty_job_dir_field(const struct ty_buf *text, const char *key)
{
    size_t key_len = strlen(key);
    const char *at = (const char *)text->data, *end = at + text->len;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            stop = end;
        if ((size_t)(stop - at) > key_len && !memcmp(at, key, key_len) && at[key_len] == '=')
            return strndup(at + key_len + 1, (size_t)(stop - at) - key_len - 1);
        at = stop + 1;
    }
    return NULL;
}

// ---- control ----

int ty_job_dir_map(const char *dir, bool make, struct ty_exec_control **ret_control, struct ty_err *err)
{
    struct ty_exec_control fresh = {.format = TY_EXEC_FORMAT};
    // Written, not only made longer: a mapped hole on a full disk would be a SIGBUS.
    if (make && ty_job_dir_write(dir, "control", &fresh, sizeof fresh, err) < 0)
        return -(int)err->code;
    char *path TY_FREE = ty_xasprintf("%s/control", dir);
    struct stat st;
    FD(fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return ty_err_set(err, TY_ENOTFOUND, "%s: is not there", path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return ty_err_errno(err, errno, "%s", path);
    if (st.st_size < (off_t)sizeof fresh)
        return ty_err_set(err, TY_EPRECONDITION, "%s: too short", path);
    struct ty_exec_control *control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED)
        return ty_err_errno(err, errno, "%s", path);
    if (control->format != TY_EXEC_FORMAT) {
        uint32_t format = control->format;
        munmap(control, sizeof *control);
        return ty_err_set(err, TY_EPRECONDITION, "%s: format %u", path, format);
    }
    *ret_control = control;
    return 0;
}

void ty_job_dir_unmap(struct ty_exec_control *control)
{
    if (control)
        munmap(control, sizeof *control);
}

bool ty_job_dir_is_held(const char *dir)
{
    char *path TY_FREE = ty_xasprintf("%s/control", dir);
    FD(fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

// A supervisor refuses a directory that has a spool.
bool ty_job_dir_forbid_start(const char *dir)
{
    char *path TY_FREE = ty_xasprintf("%s/spool", dir);
    FD(fd);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd >= 0;
}

// ---- ticket ----

static void add_hex(struct ty_buf *out, const char *key, const uint8_t *bytes, size_t len)
{
    ty_buf_add_format(out, "%s=", key);
    for (size_t i = 0; i < len; i++)
        ty_buf_add_format(out, "%02x", bytes[i]);
    ty_buf_add_byte(out, '\n');
}

int ty_ticket_write(const struct ty_ticket *ticket, const char *dir, struct ty_err *err)
{
    TY_BUF(text);
    char id[TY_ID_TEXT_BYTES];
    ty_buf_add_format(&text,
                      "format=1\njob=%s\nattempt=%" PRIu32 "\nfence=%" PRIu64 "\nclaimed_us=%" PRIu64
                      "\nworker=%s\norganization=%s\nmodel=%s\nmodel_version=%s\n",
                      ty_id_format(&ticket->id, id), ticket->attempt, ticket->fence, ticket->claimed_us, ticket->worker,
                      ticket->organization, ticket->model, ticket->model_version);
    if (ticket->container)
        ty_buf_add_format(&text, "container=%s\n", ticket->container);
    if (ticket->after)
        ty_buf_add_format(&text, "after=%s\n", ticket->after);
    add_hex(&text, "token", ticket->token.bytes, sizeof ticket->token.bytes);
    add_hex(&text, "retries", ticket->retries, sizeof ticket->retries);
    return ty_job_dir_write(dir, "ticket", text.data, text.len, err);
}

static bool read_hex(const char *text, uint8_t *ret_bytes, size_t len)
{
    if (!text || strlen(text) != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned value;
        int used = 0;
        if (sscanf(text + 2 * i, "%2x%n", &value, &used) != 1 || used != 2)
            return false;
        ret_bytes[i] = (uint8_t)value;
    }
    return true;
}

static uint64_t read_number(const struct ty_buf *text, const char *key)
{
    char *value TY_FREE = ty_job_dir_field(text, key);
    return value ? strtoull(value, NULL, 10) : 0;
}

static bool parse_ticket(const struct ty_buf *text, struct ty_ticket *ticket)
{
    struct ty_err err;
    char *id TY_FREE = ty_job_dir_field(text, "job");
    char *token TY_FREE = ty_job_dir_field(text, "token");
    char *retries TY_FREE = ty_job_dir_field(text, "retries");
    ticket->attempt = (uint32_t)read_number(text, "attempt");
    ticket->fence = read_number(text, "fence");
    ticket->claimed_us = read_number(text, "claimed_us");
    ticket->worker = ty_job_dir_field(text, "worker");
    ticket->organization = ty_job_dir_field(text, "organization");
    ticket->model = ty_job_dir_field(text, "model");
    ticket->model_version = ty_job_dir_field(text, "model_version");
    ticket->container = ty_job_dir_field(text, "container");
    ticket->after = ty_job_dir_field(text, "after");
    return read_number(text, "format") == 1 && id && ty_id_parse(id, &ticket->id, &err) == 0 &&
           read_hex(token, ticket->token.bytes, sizeof ticket->token.bytes) &&
           (!retries || read_hex(retries, ticket->retries, sizeof ticket->retries)) && ticket->attempt && ticket->fence && ticket->worker && ticket->organization &&
           ticket->model && ticket->model_version;
}

int ty_ticket_read(const char *dir, struct ty_ticket *ret_ticket, struct ty_err *err)
{
    TY_BUF(text);
    struct ty_ticket ticket = {0};
    if (ty_job_dir_read(dir, "ticket", &text, err) < 0)
        return -(int)err->code;
    if (!parse_ticket(&text, &ticket)) {
        ty_ticket_done(&ticket);
        return ty_err_set(err, TY_EDATALOSS, "%s/ticket: is not one of format 1", dir);
    }
    *ret_ticket = ticket;
    return 0;
}

void ty_ticket_done(struct ty_ticket *ticket)
{
    free(ticket->worker);
    free(ticket->organization);
    free(ticket->model);
    free(ticket->model_version);
    free(ticket->container);
    free(ticket->after);
    *ticket = (struct ty_ticket){0};
}
