// Signed commands: the Kafka header "trainyard-signature" says which key (core/key.h, kind signing) stands for a record's key and
// value. Its 80 bytes are the key's id (16 raw bytes), then the Ed25519 signature (64) of
//   "trainyard command v1" and a NUL, the length of the record's key (4 bytes, big-endian), the record's key, the record's value.
// So nothing that is signed for another purpose passes for a command. Pure but for reading the file. Thread-safe.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/crypto.h"
#include "core/id.h"

#define TY_SIGNATURE_HEADER "trainyard-signature"
#define TY_SIGNATURE_BYTES (16 + TY_ED25519_SIGNATURE_BYTES)
// A file with a signing key: larger ones are refused.
#define TY_SIGNER_FILE_BYTES 16384
// The line of that file, before the key, that says which key it is.
#define TY_SIGNER_ID_LINE "key-id: "

// Who signs.
struct ty_signer;
// Reads a file as `trainyard keys create --signing` makes it: a line "key-id: <UUID>" and an Ed25519 private key in PEM. Errors begin
// with the path: as of ty_file_read; TY_EINVALID: one of the two is missing or malformed. Owner frees with ty_signer_free.
int ty_signer_read(const char *path, struct ty_signer **ret_signer, struct ty_err *err) TY_MUST_USE;
void ty_signer_free(struct ty_signer *signer);
void ty_signer_sign(const struct ty_signer *signer, const void *key, size_t key_len, const void *value, size_t value_len,
                    uint8_t out[TY_SIGNATURE_BYTES]);

// The id in a header's value; TY_EINVALID when it has another length.
int ty_signature_key_id(const void *header, size_t len, struct ty_id *ret_id, struct ty_err *err) TY_MUST_USE;
// Whether the signature of a header of the right length holds under the key.
bool ty_signature_holds(const uint8_t public_key[TY_ED25519_KEY_BYTES], const void *header, const void *key, size_t key_len,
                        const void *value, size_t value_len);
