// responder/request_options: lines "key=value" as a call's request metadata.
#include "core/wire.h"
#include "responder/request_options.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    char *text = input_text(&input, 65536), *rest = text, *line;
    struct ty_request_options options;
    struct ty_err err = {0};
    int rc = 0;
    ty_request_options_init(&options);
    while (rc == 0 && (line = strsep(&rest, "\n"))) {
        char *value = strchr(line, '=');
        if (value)
            *value++ = 0;
        rc = ty_request_options_take(&options, line, value ? value : "", &err);
        REQUIRE(rc == 0 || (rc == -TY_EINVALID && ty_utf8_is_valid(err.message, strlen(err.message))));
    }
    if (rc == 0) {
        size_t len = protobuf_c_message_get_packed_size(&options.message.base);
        REQUIRE(options.is_set || len == 0);
    }
    ty_request_options_done(&options);
    free(text);
    return 0;
}
