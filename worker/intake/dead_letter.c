#include "worker/intake/dead_letter.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/letter.h"
#include "core/log.h"
#include "worker/intake/log_limit.h"
#include "core/mailbox.h"

#define TOPIC "dead-letter"
#define FIRST_RETRY_MS 100
#define LAST_RETRY_MS 5000

struct ty_letters {
    struct ty_loop *loop;
    struct ty_publisher *publisher;
    char *topic_prefix;
    struct ty_mailbox *mailbox;
    struct ty_log_limit failures;
};

// The letter is the loop's. Its flight is what the publisher's thread holds, one for each try.
struct flight {
    struct ty_mail mail;
    struct ty_mailbox *mailbox;
    struct ty_letter *letter; // loop thread only; NULL: abandoned
    enum ty_code code;        // TY_OK: acknowledged
    char message[256];
};

struct ty_letter {
    struct ty_letters *letters;
    const struct ty_intake_record *record;
    char *reason;
    ty_letter_fn fn;
    void *context;
    struct flight *flight; // NULL: waits for its timer
    bool is_stub;
    struct ty_timer retry;
    uint64_t retry_ms;
};

// ---- what is written ----

static void add_header(rd_kafka_headers_t *headers, const char *name, const char *value)
{
    rd_kafka_header_add(headers, name, -1, value, (ssize_t)strlen(value));
}

static void add_origin(rd_kafka_headers_t *headers, const char *topic, const struct ty_intake_record *record,
                       const char *reason)
{
    char text[64], stamp[40];
    struct tm utc;
    time_t seconds = (time_t)(record->time_us / 1000000);
    add_header(headers, TY_LETTER_TOPIC, topic);
    snprintf(text, sizeof text, "%" PRId32, record->claimed->number);
    add_header(headers, TY_LETTER_PARTITION, text);
    snprintf(text, sizeof text, "%" PRId64, record->offset);
    add_header(headers, TY_LETTER_OFFSET, text);
    gmtime_r(&seconds, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text, sizeof text, "%s.%03uZ", stamp, (unsigned)(record->time_us / 1000 % 1000));
    add_header(headers, TY_LETTER_TIME, text);
    add_header(headers, TY_LETTER_REASON, reason);
}

rd_kafka_headers_t *ty_letter_headers(const rd_kafka_headers_t *own, const char *topic, const struct ty_intake_record *record,
                                      const char *reason)
{
    rd_kafka_headers_t *headers = own ? rd_kafka_headers_copy(own) : rd_kafka_headers_new(8);
    add_origin(headers, topic, record, reason);
    return headers;
}

static void add_digest(rd_kafka_headers_t *headers, const struct ty_intake_record *record)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[65];
    if (EVP_Digest(record->value, record->value_len, digest, NULL, EVP_sha256(), NULL) != 1)
        abort(); // libcrypto without SHA-256, or without memory
    for (size_t i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    add_header(headers, TY_LETTER_VALUE_SHA256, text);
    snprintf(text, sizeof text, "%zu", record->value_len);
    add_header(headers, TY_LETTER_VALUE_BYTES, text);
}

rd_kafka_headers_t *ty_letter_stub(const char *topic, const struct ty_intake_record *record, const char *reason,
                                   size_t *ret_key_len, size_t *ret_value_len)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(8);
    add_origin(headers, topic, record, reason);
    add_header(headers, TY_LETTER_STUB, "1");
    add_digest(headers, record);
    *ret_key_len = record->key_len <= TY_STUB_KEY_BYTES ? record->key_len : 0;
    *ret_value_len = record->value_len < TY_STUB_BYTES ? record->value_len : TY_STUB_BYTES;
    return headers;
}

// ---- writing ----

static void dispatch(struct ty_letter *letter);

static void on_retry(void *context)
{
    dispatch(context);
}

// Too large: a stub is not.
static bool is_permanent(const struct ty_letter *letter, enum ty_code code)
{
    return code == TY_EINVALID && !letter->is_stub;
}

static void again(struct ty_letter *letter, enum ty_code code, const char *message)
{
    struct ty_letters *letters = letter->letters;
    uint64_t delay_ms = letter->retry_ms;
    if (is_permanent(letter, code)) {
        letter->is_stub = true;
        delay_ms = 0;
    } else {
        letter->retry_ms = letter->retry_ms * 2 < LAST_RETRY_MS ? letter->retry_ms * 2 : LAST_RETRY_MS;
    }
    if (ty_log_limit_take(&letters->failures))
        ty_log(TY_LOG_ERROR, "intake.dead_letter_failed",
               TY_KV("topic", "%s", ty_topic_kind_name(letter->record->claimed->kind)),
               TY_KV("partition", "%" PRId32, letter->record->claimed->number),
               TY_KV("offset", "%" PRId64, letter->record->offset), TY_KV("next", "%s", delay_ms ? "retry" : "stub"),
               TY_KV("message", "%s", message));
    ty_loop_set_timer(letters->loop, &letter->retry, delay_ms, on_retry, letter);
}

static void letter_free(struct ty_letter *letter)
{
    ty_loop_clear_timer(letter->letters->loop, &letter->retry);
    free(letter->reason);
    free(letter);
}

static void flight_free(struct flight *flight)
{
    ty_mailbox_unref(flight->mailbox);
    free(flight);
}

static void on_landed(void *context, struct ty_mail *mail)
{
    struct flight *flight = (struct flight *)mail;
    struct ty_letter *letter = flight->letter;
    (void)context;
    if (letter) {
        letter->flight = NULL;
        if (flight->code == TY_OK) {
            ty_letter_fn fn = letter->fn;
            void *owner = letter->context;
            letter_free(letter);
            fn(owner);
        } else {
            again(letter, flight->code, flight->message);
        }
    }
    flight_free(flight);
}

// The publisher's thread.
static void on_published(void *context, int32_t partition, int64_t offset, bool unknown, const struct ty_err *err)
{
    struct flight *flight = context;
    (void)partition;
    (void)offset;
    (void)unknown; // written twice is better than not at all
    flight->code = err ? err->code : TY_OK;
    if (err)
        snprintf(flight->message, sizeof flight->message, "%.255s", err->message);
    if (!ty_mailbox_put(flight->mailbox, &flight->mail))
        flight_free(flight);
}

static void dispatch(struct ty_letter *letter)
{
    struct ty_letters *letters = letter->letters;
    const struct ty_intake_record *record = letter->record;
    const uint8_t *key = record->key;
    size_t key_len = record->key_len, value_len = record->value_len;
    char *topic TY_FREE = ty_xasprintf("%s%s", letters->topic_prefix, ty_topic_kind_name(record->claimed->kind));
    rd_kafka_headers_t *own = NULL, *headers;
    struct ty_err err;
    if (letter->is_stub) {
        headers = ty_letter_stub(topic, record, letter->reason, &key_len, &value_len);
        key = key_len ? key : NULL;
    } else {
        if (rd_kafka_message_headers(record->message, &own))
            own = NULL;
        headers = ty_letter_headers(own, topic, record, letter->reason);
    }
    struct flight *flight = ty_xcalloc(1, sizeof *flight);
    flight->mailbox = ty_mailbox_ref(letters->mailbox);
    flight->letter = letter;
    letter->flight = flight;
    if (ty_publisher_send_raw(letters->publisher, TOPIC, key, key_len, record->value, value_len,
                              headers, on_published, flight, &err) == 0)
        return;
    letter->flight = NULL;
    flight_free(flight);
    rd_kafka_headers_destroy(headers);
    again(letter, err.code, err.message);
}

struct ty_letter *ty_letters_write(struct ty_letters *letters, const struct ty_intake_record *record, const char *reason,
                                   ty_letter_fn fn, void *context)
{
    struct ty_letter *letter = ty_xcalloc(1, sizeof *letter);
    *letter = (struct ty_letter){.letters = letters, .record = record, .reason = ty_xstrdup(reason), .fn = fn,
                                 .context = context, .retry_ms = FIRST_RETRY_MS};
    dispatch(letter);
    return letter;
}

void ty_letter_abandon(struct ty_letter *letter)
{
    if (letter->flight)
        letter->flight->letter = NULL;
    letter_free(letter);
}

int ty_letters_new(struct ty_loop *loop, struct ty_publisher *publisher, const char *topic_prefix,
                   struct ty_letters **ret_letters, struct ty_err *err)
{
    struct ty_letters *letters = ty_xcalloc(1, sizeof *letters);
    *letters = (struct ty_letters){.loop = loop, .publisher = publisher, .topic_prefix = ty_xstrdup(topic_prefix)};
    int rc = ty_mailbox_new(loop, on_landed, letters, &letters->mailbox, err);
    if (rc < 0) {
        ty_letters_free(letters);
        return rc;
    }
    *ret_letters = letters;
    return 0;
}

void ty_letters_free(struct ty_letters *letters)
{
    if (!letters)
        return;
    struct ty_mail *left = letters->mailbox ? ty_mailbox_shut(letters->mailbox) : NULL;
    for (struct ty_mail *next; left; left = next) {
        next = left->next;
        flight_free((struct flight *)left);
    }
    ty_mailbox_unref(letters->mailbox);
    free(letters->topic_prefix);
    free(letters);
}
