// core/settings: the file of a program's settings.
#include <sys/mman.h>
#include <unistd.h>

#include "core/settings.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"

struct sample {
    char *name;
    int64_t lease_ms;
    bool color;
    int level;
    char **brokers;
};

#define AT(member) offsetof(struct sample, member)
static const struct ty_setting rows[] = {
    {"name", NULL, TY_SETTING_TEXT, AT(name), 0, 0, NULL, "worker", "", "Its name."},
    {"lease-ms", NULL, TY_SETTING_INT, AT(lease_ms), -5, 60000, NULL, "10000", "ms", "How long a lease runs."},
    {"color", NULL, TY_SETTING_BOOL, AT(color), 0, 0, NULL, "true", "", "Colours."},
    {"level", NULL, TY_SETTING_CHOICE, AT(level), 0, 0, "debug|info|warn", "info", "", "What is logged."},
    {"brokers", NULL, TY_SETTING_LIST, AT(brokers), 0, 0, NULL, "a:1,b:2", "", "Where Kafka is."},
};
static const struct ty_settings_table table = {"sample", "Samples things.", rows, sizeof rows / sizeof *rows};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("settings", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    REQUIRE(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    char *argv[] = {(char *)"sample", (char *)"--config", path, NULL};
    struct sample sample = {0};
    struct ty_err err = {0};
    int rc = ty_settings_load(&table, &sample, 3, argv, NULL, NULL, &err);
    if (rc == 0)
        REQUIRE(sample.name && sample.lease_ms >= -5 && sample.lease_ms <= 60000 && sample.level >= 0 && sample.level < 3);
    else
        REQUIRE(rc == -TY_EINVALID && strstr(err.message, path) && ty_utf8_is_valid(err.message, strlen(err.message)));
    ty_settings_done(&table, &sample);
    return 0;
}
