// core/redis: the address; what is shown of it is the place and nothing of the credentials.
#include "core/redis_internal.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    char *text = input_text(&input, 4096);
    struct ty_redis_url url = {0};
    struct ty_err err = {0};
    int rc = ty_redis_url_parse(text, &url, &err);
    if (rc == 0) {
        REQUIRE(!url.host != !url.path && url.shown);
        REQUIRE(url.path || (url.port > 0 && url.port < 65536));
        REQUIRE(url.database >= 0);
        const char *place = url.path ? url.path : url.host;
        REQUIRE(!strncmp(url.shown, place, strlen(place)) && strlen(url.shown) <= strlen(place) + 6); // ":65535"
        ty_redis_is_numeric(url.host ? url.host : "");
    } else {
        REQUIRE(rc == -TY_EINVALID && ty_utf8_is_valid(err.message, strlen(err.message)));
    }
    ty_redis_url_done(&url);
    free(text);
    return 0;
}
