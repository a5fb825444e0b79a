// worker/stage: the check of a data set's lines.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/wire.h"
#include "tests/fuzz/fuzz.h"
#include "worker/stage/dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("dataset", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    REQUIRE(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    uint64_t lines = 0, most = 1;
    struct ty_err err = {0};
    int rc = ty_dataset_check(AT_FDCWD, path, "dataset.jsonl", &lines, &err);
    for (size_t i = 0; i < size; i++)
        most += data[i] == '\n';
    if (rc == 0)
        REQUIRE(lines >= 1 && lines <= most);
    else
        REQUIRE(rc == -TY_EINVALID && !strncmp(err.message, "dataset.jsonl:", 14) &&
                ty_utf8_is_valid(err.message, strlen(err.message)));
    return 0;
}
