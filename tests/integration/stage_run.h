// trainyard-stage as the supervisor runs it: a store and an attempt's directory of their own, one verb at a time, and what it
// said. Also writes archives with entries that no archiver would write. Include cmocka.h first.
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct stage_run {
    char root[64];  // holds store/, jobs/<job>-1/ and outside
    char store[96], job_dir[128];
    char said[4096]; // stderr of the last verb; of stale also what it lists
};

#define STAGE_JOB "0f0e0d0c-0b0a-4908-8706-050403020100"
#define STAGE_OTHER_JOB "1f0e0d0c-0b0a-4908-8706-050403020100"

// A store with the data set "digits" and no script.
void stage_run_init(struct stage_run *run);
void stage_run_done(struct stage_run *run);

// Runs the verb with these options behind its usual ones (which the same option replaces); returns its exit code.
int stage_run_verb(struct stage_run *run, const char *verb, const char *const *options);
#define STAGE(run, verb, ...) stage_run_verb((run), (verb), (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

// A file below the root, its folders with it; text NULL: a folder.
void stage_run_write(struct stage_run *run, const char *path, const char *text);
// In static memory; NULL when there is no such file.
const char *stage_run_read(struct stage_run *run, const char *path);
int stage_run_exists(struct stage_run *run, const char *path);
// Where a link leads, in static memory; NULL when it is none.
const char *stage_run_link(struct stage_run *run, const char *path);

// An archive entry: kind 'f' file (text: content), 'd' folder, 's' symbolic link and 'h' hard link (text: target), 'c' character
// device, 'p' pipe.
struct stage_entry {
    char kind;
    const char *name, *text;
};
// The script digits:trainer 1.0 as an archive of these, up to the one without a name.
void stage_run_archive(struct stage_run *run, const struct stage_entry *entries);
