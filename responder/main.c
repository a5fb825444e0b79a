// trainyard-responder: see --help.
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "core/log.h"
#include "responder/responder.h"
#include "responder/version.h"

static void on_signal(void *context, int signal_number)
{
    (void)signal_number;
    ty_responder_stop(context);
}

// Each client is a descriptor, and the usual soft limit (1024) is for programs that use select.
static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void on_hangup(void *context, int signal_number)
{
    (void)signal_number;
    ty_responder_reread(context);
}

static int run(const struct ty_responder_settings *settings, struct ty_err *err)
{
    struct ty_responder *responder = NULL;
    struct ty_loop *loop = ty_loop_new(err);
    if (!loop)
        return -(int)err->code;
    // Signals are blocked before the libraries start their threads, so only the loop sees them.
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &stops, NULL);
    int rc = ty_responder_start(loop, settings, &responder, err);
    if (rc == 0)
        rc = ty_loop_add_signal(loop, SIGTERM, on_signal, responder, err);
    if (rc == 0)
        rc = ty_loop_add_signal(loop, SIGINT, on_signal, responder, err);
    if (rc == 0)
        rc = ty_loop_add_signal(loop, SIGHUP, on_hangup, responder, err);
    if (rc == 0)
        rc = ty_loop_run(loop, err);
    ty_responder_free(responder);
    ty_loop_free(loop);
    return rc;
}

static int complain(const struct ty_err *err)
{
    fprintf(stderr, "trainyard-responder: %s\n", err->message);
    return ty_code_exit(err->code);
}

int main(int argc, char **argv)
{
    struct ty_responder_settings settings = {0};
    struct ty_err err;
    int rc = 0;
    signal(SIGPIPE, SIG_IGN);
    allow_descriptors();
    if (ty_settings_has_flag(argc, argv, "--help")) {
        ty_settings_help(&ty_responder_settings_table, stdout);
        return 0;
    }
    if (ty_settings_has_flag(argc, argv, "--help-markdown")) {
        ty_settings_markdown(&ty_responder_settings_table, stdout);
        return 0;
    }
    if (ty_settings_has_flag(argc, argv, "--version")) {
        ty_responder_print_version(stdout);
        return 0;
    }
    if (ty_settings_load(&ty_responder_settings_table, &settings, argc, argv, NULL, NULL, &err) < 0) {
        rc = complain(&err);
    } else {
        ty_log_setup("trainyard-responder", (enum ty_log_level)settings.log_level,
                     (enum ty_log_format)settings.log_format);
        if (run(&settings, &err) < 0)
            rc = complain(&err);
    }
    ty_settings_done(&ty_responder_settings_table, &settings);
    return rc;
}
