// worker/exec: what the supervisor reads in /proc and in its control group. The first byte says which file the rest is; NAME is a
// process' own name, in the line that the kernel makes around it.
#include "tests/fuzz/fuzz.h"
#include "worker/exec/exec.h"

static void read_stat(const char *text)
{
    struct ty_exec_stat stat;
    char name[TY_EXEC_NAME_BYTES];
    if (ty_exec_proc_stat(text, &stat, name))
        REQUIRE(memchr(name, 0, sizeof name));
}

// Whatever the name is, the numbers behind it are the kernel's.
static void read_name(struct input input)
{
    char *given = input_text(&input, TY_EXEC_NAME_BYTES - 1), line[512], name[TY_EXEC_NAME_BYTES];
    struct ty_exec_stat stat;
    snprintf(line, sizeof line, "4711 (%s) R 42 4711 4711 0 -1 4194304 90 0 0 0 1 2 3 4 20 0 1 0 18446744073709551615 8 9\n", given);
    REQUIRE(ty_exec_proc_stat(line, &stat, name));
    REQUIRE(stat.state == 'R' && stat.parent == 42 && stat.start_time == UINT64_MAX && !strcmp(name, given));
    free(given);
}

// Of our group a path below the mount, or nothing.
static void place(const char *group, const char *root)
{
    const char *below = ty_exec_proc_below(group, root);
    REQUIRE(!*below || (below >= group && below < group + strlen(group) && *below == '/' && below[1]));
}

static void read_group(FILE *file, bool unified)
{
    char group[PATH_MAX];
    if (!ty_exec_proc_group(file, unified, group))
        return;
    REQUIRE(memchr(group, 0, sizeof group) && !strchr(group, '\n'));
    place(group, "/");
    place(group, group);
}

static void read_mount(FILE *file, bool unified)
{
    char dir[PATH_MAX], root[PATH_MAX];
    if (!ty_exec_proc_mount(file, unified, dir, root))
        return;
    REQUIRE(memchr(dir, 0, sizeof dir) && memchr(root, 0, sizeof root));
    REQUIRE(*dir && *root && !strpbrk(dir, " \n") && !strpbrk(root, " \n"));
    place("/a", root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { NAME, STAT, GROUP_1, GROUP_2, MOUNT_1, MOUNT_2, COUNTER, PLACE, FILES };
    struct input input = {data, size};
    unsigned which = input_byte(&input) % FILES;
    if (which == NAME) {
        read_name(input);
        return 0;
    }
    if (which == STAT || which == PLACE) {
        char *text = input_text(&input, PATH_MAX - 1), *line_end = strchr(text, '\n');
        if (which == STAT) {
            read_stat(text);
        } else if (line_end) {
            *line_end = 0;
            place(text, line_end + 1);
        }
        free(text);
        return 0;
    }
    if (!input.len)
        return 0; // fmemopen takes no file without bytes
    FILE *file = fmemopen((void *)input.bytes, input.len, "r");
    REQUIRE(file);
    if (which == COUNTER)
        ty_exec_proc_oom_kills(file);
    else if (which <= GROUP_2)
        read_group(file, which == GROUP_2);
    else
        read_mount(file, which == MOUNT_2);
    fclose(file);
    return 0;
}
