// Every bound that outside input can meet, in one place. Each line says what happens at the limit.
#pragma once

// A command record on Kafka (key and value): larger ones are dead-lettered by their coordinates and first bytes.
#define TY_LIMIT_COMMAND_BYTES (1024 * 1024)
// What a dead letter may exceed a command by (headers and stub framing).
#define TY_LIMIT_DEAD_LETTER_EXTRA_BYTES (64 * 1024)
// A gRPC request message: RESOURCE_EXHAUSTED by the library.
#define TY_LIMIT_REQUEST_BYTES (1024 * 1024)
// organization_id, dataset_id: INVALID_ARGUMENT.
#define TY_LIMIT_ID_BYTES 128
// model_name, model_version, registry_item_id, registry_item_version, container_version: INVALID_ARGUMENT. Most become a file
// name, of which Linux takes 255 bytes: the rest is for what the stores put around it (".tar.gz").
#define TY_LIMIT_NAME_BYTES 240
// One tag: INVALID_ARGUMENT.
#define TY_LIMIT_TAG_BYTES 256
// Tags of one job: INVALID_ARGUMENT.
#define TY_LIMIT_TAGS 1000
// Custom arguments of one job: INVALID_ARGUMENT.
#define TY_LIMIT_ARGUMENTS 256
// An argument's key: INVALID_ARGUMENT.
#define TY_LIMIT_ARGUMENT_KEY_BYTES 128
// An argument's value: INVALID_ARGUMENT.
#define TY_LIMIT_ARGUMENT_VALUE_BYTES (64 * 1024)
// All tags of a request together, or all keys and values of its arguments: INVALID_ARGUMENT.
#define TY_LIMIT_SPEC_BYTES (256 * 1024)
// Labels in JobOptions, and the key and value of each: INVALID_ARGUMENT.
#define TY_LIMIT_LABELS 32
#define TY_LIMIT_LABEL_KEY_BYTES 128
#define TY_LIMIT_LABEL_VALUE_BYTES 256
// An idempotency key: INVALID_ARGUMENT.
#define TY_LIMIT_IDEMPOTENCY_KEY_BYTES 256
// Nesting of messages in a record from the wire: refused as malformed.
#define TY_LIMIT_WIRE_DEPTH 32
// Highest priority in JobOptions: INVALID_ARGUMENT above.
#define TY_LIMIT_PRIORITY 7
// Exit codes in each list of a job's retry policy: INVALID_ARGUMENT.
#define TY_LIMIT_EXIT_CODES 32
// The back-off a job may ask for: INVALID_ARGUMENT above.
#define TY_LIMIT_BACKOFF_MS (24 * 3600 * 1000)
// Options of a job that an answer to Get carries in its trailing metadata: larger ones are left out, and it says so.
#define TY_LIMIT_TRAILING_OPTIONS_BYTES 4096
// Attempts a job may ask for: INVALID_ARGUMENT above.
#define TY_LIMIT_ATTEMPTS 100
// Log message in one entry; longer lines continue in the next entry.
#define TY_LIMIT_LOG_MESSAGE_BYTES (16 * 1024)
// One entry in the store, its message, level, time and marks: what is larger is cut by whoever makes entries.
#define TY_LIMIT_LOG_ENTRY_BYTES (48 * 1024)
// What a sealed chunk of a log unpacks to: refused by the store's scripts and by readers.
#define TY_LIMIT_LOG_CHUNK_BYTES (128 * 1024)
// Entries and bytes of one log page: the page ends and its token leads on.
#define TY_LIMIT_LOG_PAGE_ENTRIES 1000
#define TY_LIMIT_LOG_PAGE_BYTES (1024 * 1024)
// error_status.message, log tail included: cut on a character boundary.
#define TY_LIMIT_ERROR_MESSAGE_BYTES (8 * 1024)
// A list reply: cut there, with trailing metadata that says so.
#define TY_LIMIT_LIST_BYTES (24 * 1024 * 1024)
// A page of ListJobs, in jobs (more are refused) and bytes (the page ends), and how many jobs it may look at: the page ends there, and
// says so.
#define TY_LIMIT_LIST_PAGE_JOBS 1000
#define TY_LIMIT_LIST_PAGE_BYTES (1024 * 1024)
#define TY_LIMIT_LIST_SCAN_JOBS 10000
// Jobs claimed by one call.
#define TY_LIMIT_CLAIM_JOBS 256
// A worker's name in the store: refused at start.
#define TY_LIMIT_WORKER_NAME_BYTES 128
// How long any RPC may wait for Redis and Kafka together: UNAVAILABLE after it.
#define TY_LIMIT_RPC_MS 5000
