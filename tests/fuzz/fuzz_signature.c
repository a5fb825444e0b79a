// core/signature. First byte 0: a file with a signing key, what it signs holds; else a record's header, of which the rest of the
// input is key and value.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/signature.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"

static void read_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    struct ty_signer *signer = NULL;
    struct ty_err err = {0};
    if (fd < 0) {
        fd = memfd_create("signer", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    REQUIRE(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    int rc = ty_signer_read(path, &signer, &err);
    if (rc < 0) {
        REQUIRE(!signer && !strncmp(err.message, path, strlen(path)) && ty_utf8_is_valid(err.message, strlen(err.message)));
        return;
    }
    uint8_t header[TY_SIGNATURE_BYTES];
    struct ty_id id;
    ty_signer_sign(signer, "key", 3, data, size, header);
    REQUIRE(ty_signature_key_id(header, sizeof header, &id, &err) == 0 && !memcmp(id.bytes, header, sizeof id.bytes));
    ty_signer_free(signer);
}

static void read_header(struct input input)
{
    // RFC 8032's first test: the key of its seed.
    static const uint8_t public_key[TY_ED25519_KEY_BYTES] = {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe,
                                                             0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6,
                                                             0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};
    size_t len = input_byte(&input), key_len = input_byte(&input);
    struct ty_id id;
    struct ty_err err = {0};
    len = len < input.len ? len : input.len;
    char *header = input_text(&input, len);
    int rc = ty_signature_key_id(header, len, &id, &err);
    REQUIRE((rc == 0) == (len == TY_SIGNATURE_BYTES) && (rc == 0 || rc == -TY_EINVALID));
    if (rc == 0) {
        key_len = key_len < input.len ? key_len : input.len;
        // No input is signed for this purpose under that key.
        REQUIRE(!ty_signature_holds(public_key, header, input.bytes, key_len, input.bytes + key_len, input.len - key_len));
    }
    free(header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size && !data[0])
        read_file(data + 1, size - 1);
    else if (size)
        read_header((struct input){data + 1, size - 1});
    return 0;
}
