// worker/stage: any archive unpacks into its directory or is refused, and leaves what stands beside the directory alone.
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/wire.h"
#include "tests/fuzz/fuzz.h"
#include "worker/stage/archive.h"

static char top[] = "/dev/shm/ty-fuzz-XXXXXX";

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static void leave(void)
{
    nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static size_t count_entries(void)
{
    size_t count = 0;
    DIR *dir = opendir(top);
    REQUIRE(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char to[64], *root = NULL;
    struct ty_err err = {0};
    if (fd < 0) {
        fd = memfd_create("archive", 0);
        REQUIRE(mkdtemp(top));
        atexit(leave);
    }
    snprintf(to, sizeof to, "%s/to", top);
    REQUIRE(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0 && mkdir(to, 0755) == 0);
    int rc = ty_archive_unpack(fd, to, "script", &root, &err);
    if (rc == 0)
        REQUIRE(root && !strncmp(root, to, strlen(to)));
    else
        REQUIRE((rc == -TY_EINVALID || rc == -TY_ESYSTEM) && ty_utf8_is_valid(err.message, strlen(err.message)));
    free(root);
    REQUIRE(count_entries() == 3); // "to" and the two dots
    nftw(to, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
