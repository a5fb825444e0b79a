#include "core/signature.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/file.h"

static const char purpose[] = "trainyard command v1"; // signed with its NUL

struct ty_signer {
    struct ty_id id;
    struct ty_ed25519 *key;
};

static void add_signed(struct ty_buf *out, const void *key, size_t key_len, const void *value, size_t value_len)
{
    uint8_t len[4] = {(uint8_t)(key_len >> 24), (uint8_t)(key_len >> 16), (uint8_t)(key_len >> 8), (uint8_t)key_len};
    ty_buf_add(out, purpose, sizeof purpose);
    ty_buf_add(out, len, sizeof len);
    ty_buf_add(out, key, key_len);
    ty_buf_add(out, value, value_len);
}

static int find_id(const char *text, struct ty_id *ret_id, struct ty_err *err)
{
    char id[TY_ID_TEXT_BYTES] = "";
    const char *line = strstr(text, TY_SIGNER_ID_LINE);
    while (line && line != text && line[-1] != '\n')
        line = strstr(line + 1, TY_SIGNER_ID_LINE);
    if (line)
        strncpy(id, line + sizeof TY_SIGNER_ID_LINE - 1, sizeof id - 1);
    if (!line || strlen(id) != TY_ID_TEXT_BYTES - 1 || ty_id_parse(id, ret_id, err) < 0)
        return ty_err_set(err, TY_EINVALID, "there is no line \"" TY_SIGNER_ID_LINE "<UUID>\" in it");
    return 0;
}

int ty_signer_read(const char *path, struct ty_signer **ret_signer, struct ty_err *err)
{
    struct ty_buf text TY_CLEANUP(ty_file_forget) = {0};
    struct ty_ed25519 *key;
    struct ty_id id;
    if (ty_file_read(path, TY_SIGNER_FILE_BYTES, &text, err) < 0)
        return -(int)err->code;
    if (find_id(ty_buf_text(&text), &id, err) < 0 || ty_ed25519_read(text.data, text.len, &key, err) < 0)
        return ty_err_prefix(err, "%s", path);
    *ret_signer = ty_xmalloc(sizeof **ret_signer);
    **ret_signer = (struct ty_signer){.id = id, .key = key};
    return 0;
}

void ty_signer_free(struct ty_signer *signer)
{
    if (signer)
        ty_ed25519_free(signer->key);
    free(signer);
}

void ty_signer_sign(const struct ty_signer *signer, const void *key, size_t key_len, const void *value, size_t value_len,
                    uint8_t out[TY_SIGNATURE_BYTES])
{
    TY_BUF(text);
    add_signed(&text, key, key_len, value, value_len);
    memcpy(out, signer->id.bytes, sizeof signer->id.bytes);
    ty_ed25519_sign(signer->key, text.data, text.len, out + sizeof signer->id.bytes);
}

int ty_signature_key_id(const void *header, size_t len, struct ty_id *ret_id, struct ty_err *err)
{
    if (len != TY_SIGNATURE_BYTES)
        return ty_err_set(err, TY_EINVALID, "the header has %zu bytes; a key's id and a signature are %d", len, TY_SIGNATURE_BYTES);
    memcpy(ret_id->bytes, header, sizeof ret_id->bytes);
    return 0;
}

bool ty_signature_holds(const uint8_t public_key[TY_ED25519_KEY_BYTES], const void *header, const void *key, size_t key_len,
                        const void *value, size_t value_len)
{
    TY_BUF(text);
    add_signed(&text, key, key_len, value, value_len);
    return ty_ed25519_verify(public_key, text.data, text.len, (const uint8_t *)header + 16, TY_ED25519_SIGNATURE_BYTES);
}
