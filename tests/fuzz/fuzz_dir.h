// A directory of the target's own with one file in it, for a decoder that reads a file where it is. libFuzzer finds its corpus from where
// it was started, so the target goes back there. Removed at exit.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

static int fuzz_dir = -1, fuzz_home = -1;
static char fuzz_path[] = "/tmp/ty-fuzz-XXXXXX";
static const char *fuzz_file;

static void fuzz_dir_remove(void)
{
    unlinkat(fuzz_dir, fuzz_file, 0);
    rmdir(fuzz_path);
}

// Writes the file, and goes there.
static void fuzz_dir_enter(const char *file, const void *bytes, size_t len)
{
    if (fuzz_dir < 0) {
        fuzz_file = file;
        fuzz_home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        REQUIRE(fuzz_home >= 0 && mkdtemp(fuzz_path));
        fuzz_dir = open(fuzz_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        atexit(fuzz_dir_remove);
    }
    int fd = openat(fuzz_dir, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && fchdir(fuzz_dir) == 0);
    close(fd);
}

static void fuzz_dir_leave(void)
{
    REQUIRE(fchdir(fuzz_home) == 0);
}
