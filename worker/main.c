// trainyard-worker: see --help.
#include <signal.h>
#include <stdio.h>

#include "core/log.h"
#include "worker/worker.h"

static void on_signal(void *context, int signal_number)
{
    if (signal_number == SIGUSR1)
        ty_worker_report(context);
    else
        ty_worker_stop(context);
}

static int run(const struct ty_worker_settings *settings, struct ty_err *err)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};
    struct ty_worker *worker = NULL;
    struct ty_loop *loop = ty_loop_new(err);
    if (!loop)
        return -(int)err->code;
    // Signals are blocked before the libraries start their threads, so only the loop sees them.
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaddset(&blocked, signals[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    int rc = ty_worker_start(loop, settings, &worker, err);
    for (size_t i = 0; rc == 0 && i < sizeof signals / sizeof *signals; i++)
        rc = ty_loop_add_signal(loop, signals[i], on_signal, worker, err);
    if (rc == 0)
        rc = ty_loop_run(loop, err);
    if (rc == 0)
        rc = ty_worker_failure(worker, err);
    ty_worker_free(worker);
    ty_loop_free(loop);
    return rc;
}

static int complain(const struct ty_err *err)
{
    fprintf(stderr, "trainyard-worker: %s\n", err->message);
    return ty_code_exit(err->code);
}

int main(int argc, char **argv)
{
    struct ty_worker_settings settings = {0};
    struct ty_err err;
    int rc = 0;
    signal(SIGPIPE, SIG_IGN);
    if (ty_settings_has_flag(argc, argv, "--help")) {
        ty_settings_help(&ty_worker_settings_table, stdout);
        return 0;
    }
    if (ty_settings_has_flag(argc, argv, "--help-markdown")) {
        ty_settings_markdown(&ty_worker_settings_table, stdout);
        return 0;
    }
    if (ty_settings_has_flag(argc, argv, "--version")) {
        ty_worker_print_version(stdout);
        return 0;
    }
    if (ty_settings_load(&ty_worker_settings_table, &settings, argc, argv, NULL, NULL, &err) < 0) {
        rc = complain(&err);
    } else {
        ty_log_setup("trainyard-worker", (enum ty_log_level)settings.log_level,
                     (enum ty_log_format)settings.log_format);
        if (run(&settings, &err) < 0)
            rc = complain(&err);
    }
    ty_settings_done(&ty_worker_settings_table, &settings);
    return rc;
}
