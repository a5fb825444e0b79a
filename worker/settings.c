#include "worker/settings.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define AT(member) offsetof(struct ty_worker_settings, member)
#define TEXT(k, env, member, standard, words)                                                                          \
    {.key = k, .environment = env, .type = TY_SETTING_TEXT, .offset = AT(member), .fallback = standard, .unit = "",    \
     .help = words}
#define INT(k, env, member, low, high, standard, measure, words)                                                       \
    {.key = k, .environment = env, .type = TY_SETTING_INT, .offset = AT(member), .min = low, .max = high,              \
     .fallback = standard, .unit = measure, .help = words}
#define LIST(k, env, member, standard, words)                                                                          \
    {.key = k, .environment = env, .type = TY_SETTING_LIST, .offset = AT(member), .fallback = standard, .unit = "",    \
     .help = words}

#define DAY_MS (INT64_C(24) * 3600 * 1000)

static const struct ty_setting rows[] = {
    LIST("role", "TRAINYARD_ROLES", roles, "intake,run",
         "What this worker does: intake (commands from Kafka into the store), run (jobs); may be repeated."),
    TEXT("name", "TRAINYARD_WORKER_NAME", name, NULL,
         "The worker's name in the store; by default the host's name and the process id."),
    TEXT("ready-file", NULL, ready_file, NULL, 
         "File to write the worker's name to once it has met the store; it is away while a partition is held (breaker-percent) or stands still (stall-timeout-s)."),
    TEXT("redis", "TRAINYARD_REDIS", redis, "redis://127.0.0.1:6379",
         "The job store: redis://[user:password@]host:port[/database], rediss:// for TLS where hiredis has it, or unix:///path."),
    TEXT("redis-password-file", "TRAINYARD_REDIS_PASSWORD_FILE", redis_password_file, NULL,
         "File with the password of the user in redis (redis://user@host), or of the default user."),
    INT("redis-timeout-ms", "TRAINYARD_REDIS_TIMEOUT_MS", redis_timeout_ms, 50, 60000, "4000", "ms",
        "How long one command may take before the store counts as away."),
    INT("shards", "TRAINYARD_SHARDS", shards, 1, 64, "1", "", "Control shards of the job store, as it was made with."),
    TEXT("kafka-brokers", "TRAINYARD_KAFKA_BROKERS", kafka_brokers, "127.0.0.1:9092",
         "Kafka bootstrap servers, host:port[,host:port]."),
    TEXT("topic-prefix", "TRAINYARD_TOPIC_PREFIX", topic_prefix, "mltraining.", "Prefix of every topic's name."),
    TEXT("group-id", "TRAINYARD_GROUP_ID", group_id, "trainyard-intake",
         "Kafka consumer group of the intakes of one installation."),
    LIST("kafka-property", "TRAINYARD_KAFKA_PROPERTIES", kafka_properties, NULL,
         "A librdkafka property as key=value (TLS, SASL), or key.file=PATH for a secret that stands in a file; may be repeated."),
    {.key = "require-signatures", .environment = "TRAINYARD_REQUIRE_SIGNATURES", .type = TY_SETTING_BOOL,
     .offset = AT(require_signatures), .fallback = "false", .unit = "",
     .help = "Take only commands that are signed by a key of the job's organization, as all intakes of an installation must; while it "
             "is off, whoever can write the topics owns all organizations."},
    INT("intake-batch", "TRAINYARD_INTAKE_BATCH", batch_commands, 1, 4096, "256", "commands",
        "Commands of one partition that are applied in one call, at most."),
    INT("breaker-percent", "TRAINYARD_BREAKER_PERCENT", breaker_percent, 0, 100, "50", "%",
        "The share of a partition's last 64 records that are no commands at which it is held, as in an outage; 0: never."),
    INT("stall-timeout-s", "TRAINYARD_STALL_TIMEOUT_S", stall_timeout_s, 10, 3600, "30", "s",
        "How long nothing may come from a partition that Kafka has more of before it is started again."),
    TEXT("catalog-dir", "TRAINYARD_CATALOG_DIR", catalog_dir, NULL,
         "Directory of containers.json and trainers.json in place of the built-in ones."),
    TEXT("work-dir", "TRAINYARD_WORK_DIR", work_dir, "/var/lib/trainyard/work",
         "Where attempts run; one worker at a time uses it, and adopts what the last one left there."),
    TEXT("store-dir", "TRAINYARD_STORE_DIR", store_dir, "/var/lib/trainyard/store",
         "Root of datasets/, scripts/ and models/, shared by all workers."),
    TEXT("libexec-dir", "TRAINYARD_LIBEXEC_DIR", libexec_dir, NULL,
         "Where trainyard-exec and trainyard-stage stand; by default beside this program or in ../libexec/trainyard."),
    LIST("container", "TRAINYARD_CONTAINERS", containers, NULL,
         "A key of containers.json that this worker serves; may be repeated; by default all that it can run."),
    INT("slots", "TRAINYARD_SLOTS", slots, 0, 4096, "0", "jobs", "Jobs that run at a time; 0: one a processor."),
    INT("null-slots", "TRAINYARD_NULL_SLOTS", null_slots, 0, 4096, "256", "jobs",
        "Jobs of the runner null at a time, beside the others."),
    INT("lease-ms", "TRAINYARD_LEASE_MS", lease_ms, 1000, 3600000, "30000", "ms",
        "How long a claim lasts without a renewal; renewed at a third of it."),
    INT("grace-ms", "TRAINYARD_GRACE_MS", grace_ms, 0, 600000, "30000", "ms",
        "How long a job that is being stopped has between TERM and KILL."),
    INT("drain-ms", "TRAINYARD_DRAIN_MS", drain_ms, 0, DAY_MS, "20000", "ms",
        "How long running jobs may go on after SIGTERM before they are stopped and handed back to the queue."),
    INT("lost-lease-limit-ms", "TRAINYARD_LOST_LEASE_LIMIT_MS", lost_lease_limit_ms, 0, DAY_MS, "3600000", "ms",
        "How long a job runs on after its lease has passed without contact to the store."),
    INT("max-runtime-s", "TRAINYARD_MAX_RUNTIME_S", max_runtime_s, 0, 31536000, "0", "s",
        "Longest training time of a job that asks for none; 0: no limit."),
    INT("max-attempts", "TRAINYARD_MAX_ATTEMPTS", max_attempts, 1, 100, "3", "attempts",
        "Lost workers and errors after which a job that asks for no number of its own fails."),
    INT("max-losses", "TRAINYARD_MAX_LOSSES", max_losses, 1, 100, "3", "workers",
        "Workers lost while they ran a job after which it is quarantined: it fails, however many attempts it may have."),
    INT("retry-base-ms", "TRAINYARD_RETRY_BASE_MS", retry_base_ms, 0, 3600000, "5000", "ms",
        "Back-off of a job that asks for none: after its nth failed attempt it waits a random time up to this times 2^(n-1)."),
    INT("retry-max-ms", "TRAINYARD_RETRY_MAX_MS", retry_max_ms, 0, DAY_MS, "300000", "ms",
        "The longest back-off of a job that asks for none."),
    INT("prepare-timeout-s", "TRAINYARD_PREPARE_TIMEOUT_S", prepare_timeout_s, 1, 86400, "3600", "s",
        "Longest time for fetching the script and checking the data set."),
    INT("install-timeout-s", "TRAINYARD_INSTALL_TIMEOUT_S", install_timeout_s, 1, 86400, "1800", "s",
        "Longest time for installing the script and what it needs."),
    INT("collect-timeout-s", "TRAINYARD_COLLECT_TIMEOUT_S", collect_timeout_s, 1, 86400, "3600", "s",
        "Longest time for staging the model."),
    INT("horizon-hours", "TRAINYARD_HORIZON_HOURS", horizon_hours, 0, 8759, "168", "h",
        "A submit that stands in Kafka for longer makes no job any more, but a dead letter; 0: any does."),
    INT("tombstone-hours", "TRAINYARD_TOMBSTONE_HOURS", tombstone_hours, 1, 8760, "192", "h",
        "How long a cancel or delete waits for its submit, and a job that is gone is remembered; above horizon-hours, and "
        "longer than the command topics keep records."),
    INT("store-budget-bytes", "TRAINYARD_STORE_BUDGET_BYTES", store_budget_bytes, 0, INT64_C(1) << 50, "0", "bytes",
        "Memory that the job store may take; 0: Redis' maxmemory."),
    INT("store-admit-percent", "TRAINYARD_STORE_ADMIT_PERCENT", store_admit_percent, 1, 100, "75", "%",
        "Of that budget, from where on submits wait in Kafka. Cancel, complete and delete always go on."),
    INT("store-shed-percent", "TRAINYARD_STORE_SHED_PERCENT", store_shed_percent, 1, 100, "85", "%",
        "Of that budget, from where on log lines are kept back, and left out when their job ends."),
    INT("retention-days", "TRAINYARD_RETENTION_DAYS", retention_days, 0, 36500, "90", "days",
        "How long a job is kept after its end; then it is removed with its log as by a delete; 0: for ever."),
    INT("model-retention-days", "TRAINYARD_MODEL_RETENTION_DAYS", model_retention_days, 0, 36500, "0", "days",
        "How long a model is kept whose job is gone, since it was made; 0: for ever."),
    INT("log-retention-hours", "TRAINYARD_LOG_RETENTION_HOURS", log_retention_hours, -1, 87600, "168", "h",
        "How long a job's log is kept after its end; 0: for ever; -1: it goes with its end."),
    INT("job-log-bytes", "TRAINYARD_JOB_LOG_BYTES", job_log_bytes, 0, INT64_C(1) << 40, "268435456", "bytes",
        "Of one job's lines are kept: the first quarter of this and the latest; 0: all."),
    INT("organization-log-bytes", "TRAINYARD_ORGANIZATION_LOG_BYTES", organization_log_bytes, 0, INT64_C(1) << 50, "0", "bytes",
        "What the logs of one organization may take in the store; above it those that are written keep 1 MiB of their beginning "
        "or what they have of it, and the latest 1 MiB; 0: no limit."),
    INT("total-log-bytes", "TRAINYARD_TOTAL_LOG_BYTES", total_log_bytes, 0, INT64_C(1) << 50, "0", "bytes",
        "The same for the logs of all organizations together; 0: no limit."),
    INT("spool-limit-bytes", "TRAINYARD_SPOOL_LIMIT_BYTES", spool_limit_bytes, 0, INT64_C(1) << 42, "4294967296", "bytes",
        "How much of an attempt's output is kept on the worker's disk; of what follows the last 256 KiB; 0: all."),
    {.key = "log-stderr-level", .environment = "TRAINYARD_LOG_STDERR_LEVEL", .type = TY_SETTING_CHOICE,
     .offset = AT(log_stderr_level), .choices = "info|warn|error", .fallback = "info", .unit = "",
     .help = "The level, in a job's log, of lines on stderr that state none."},
    {.key = "rebuild", .environment = "TRAINYARD_REBUILD", .type = TY_SETTING_CHOICE, .offset = AT(rebuild),
     .choices = "auto|manual", .fallback = "auto", .unit = "",
     .help = "Whether an empty store is made again from Kafka at once, or waits for \"trainyard rebuild\"."},
    {.key = "keep-job-dirs", .environment = "TRAINYARD_KEEP_JOB_DIRS", .type = TY_SETTING_BOOL,
     .offset = AT(keep_job_dirs), .fallback = "false", .unit = "",
     .help = "Leave the directories of ended attempts in place, to look into them."},
    INT("job-dir-hours", "TRAINYARD_JOB_DIR_HOURS", job_dir_hours, 0, 87600, "168", "h",
        "How long keep-job-dirs leaves them there; 0: for ever."),
    {.key = "log-level", .environment = "TRAINYARD_LOG_LEVEL", .type = TY_SETTING_CHOICE, .offset = AT(log_level),
     .choices = "debug|info|warn|error", .fallback = "info", .unit = "", .help = "Lowest level that is logged."},
    {.key = "log-format", .environment = "TRAINYARD_LOG_FORMAT", .type = TY_SETTING_CHOICE, .offset = AT(log_format),
     .choices = "text|json", .fallback = "text", .unit = "", .help = "How a line of the log on stderr looks."},
};

const struct ty_settings_table ty_worker_settings_table = {
    .program = "trainyard-worker",
    .summary = "takes commands from Kafka into the job store, and runs jobs",
    .rows = rows,
    .count = sizeof rows / sizeof *rows,
};

int ty_worker_settings_check(const struct ty_worker_settings *settings, struct ty_err *err)
{
    if (settings->store_admit_percent > settings->store_shed_percent)
        return ty_err_set(err, TY_EINVALID,
                          "--store-admit-percent: %" PRId64 " is above store-shed-percent, %" PRId64 ": jobs would be taken without room for their logs",
                          settings->store_admit_percent, settings->store_shed_percent);
    if (settings->horizon_hours && settings->tombstone_hours <= settings->horizon_hours)
        return ty_err_set(err, TY_EINVALID,
                          "--tombstone-hours: %" PRId64 " is not above horizon-hours, %" PRId64 ": a submit that is read again could make a deleted job anew",
                          settings->tombstone_hours, settings->horizon_hours);
    return 0;
}

int ty_worker_roles(const struct ty_worker_settings *settings, struct ty_worker_roles *ret_roles, struct ty_err *err)
{
    struct ty_worker_roles roles = {0};
    for (char **role = settings->roles; role && *role; role++) {
        if (!strcmp(*role, "intake"))
            roles.intake = true;
        else if (!strcmp(*role, "run"))
            roles.run = true;
        else
            return ty_err_set(err, TY_EINVALID, "--role: \"%.64s\" is neither intake nor run", *role);
    }
    if (!roles.intake && !roles.run)
        return ty_err_set(err, TY_EINVALID, "--role: there must be at least one");
    *ret_roles = roles;
    return 0;
}
