// core/store_memory: what Redis says in INFO memory, and the level that follows.
#include "core/store_memory.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ty_store_memory_options options = {.admit_percent = 75, .shed_percent = 85};
    struct input input = {data, size};
    char *text = input_text(&input, size);
    struct ty_memory_info info;
    struct ty_err err = {0};
    int rc = ty_memory_info_parse(text, &info, &err);
    if (rc == 0) {
        REQUIRE(memchr(info.policy, 0, sizeof info.policy) && !strpbrk(info.policy, "\r\n"));
        REQUIRE(!info.evicts || strcmp(info.policy, "noeviction") != 0);
        enum ty_memory_level level = TY_MEMORY_ROOM;
        for (int i = 0; i < 2; i++) {
            level = ty_memory_level_of(&options, info.used, info.maximum, level);
            REQUIRE(info.maximum || level == TY_MEMORY_ROOM);
            REQUIRE(!info.maximum || info.used < info.maximum || level == TY_MEMORY_NO_LOGS);
        }
    } else {
        REQUIRE(rc == -TY_EDATALOSS && *err.message);
    }
    free(text);
    return 0;
}
