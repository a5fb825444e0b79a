// trainyard-worker's settings: one table for file, environment, flags, --help and the documentation.
#pragma once

#include "core/settings.h"

struct ty_worker_settings {
    char **roles;
    char *name;
    char *ready_file;
    bool require_signatures;
    char *redis, *redis_password_file;
    int64_t redis_timeout_ms, shards;
    char *kafka_brokers, *topic_prefix, *group_id;
    char **kafka_properties;
    int64_t batch_commands;
    int64_t breaker_percent;
    int64_t stall_timeout_s;
    char *catalog_dir;
    char *work_dir, *store_dir, *libexec_dir;
    char **containers;
    int64_t slots, null_slots;
    int64_t lease_ms, grace_ms, drain_ms, lost_lease_limit_ms;
    int64_t max_runtime_s, max_attempts, max_losses, retry_base_ms, retry_max_ms;
    int64_t prepare_timeout_s, install_timeout_s, collect_timeout_s;
    int64_t retention_days, model_retention_days, horizon_hours, tombstone_hours, log_retention_hours;
    int64_t job_log_bytes, organization_log_bytes, total_log_bytes;
    int64_t store_budget_bytes, store_admit_percent, store_shed_percent;
    int64_t job_dir_hours, spool_limit_bytes;
    bool keep_job_dirs;
    int log_level, log_format, log_stderr_level, rebuild;
};

extern const struct ty_settings_table ty_worker_settings_table;

// TY_EINVALID names two settings that do not go together.
int ty_worker_settings_check(const struct ty_worker_settings *settings, struct ty_err *err) TY_MUST_USE;

struct ty_worker_roles {
    bool intake, run;
};
// TY_EINVALID names a role that there is not, or that none is asked for.
int ty_worker_roles(const struct ty_worker_settings *settings, struct ty_worker_roles *ret_roles,
                    struct ty_err *err) TY_MUST_USE;
