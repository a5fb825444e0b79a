// trainyard-devbroker: see --help.
#include <signal.h>
#include <stdio.h>

#include "core/log.h"
#include "core/loop.h"
#include "deploy/devbroker/devbroker.h"

static void on_signal(void *context, int signal_number)
{
    (void)signal_number;
    ty_loop_stop(context);
}

static void print_limits(FILE *out)
{
    fprintf(out, "This broker is for trying out and for tests, never for work:\n");
    for (const char *const *limit = ty_devbroker_limits; *limit; limit++)
        fprintf(out, "  - %s\n", *limit);
}

static int run(const struct ty_devbroker_settings *settings, struct ty_err *err)
{
    struct ty_devbroker *broker = NULL;
    struct ty_loop *loop = ty_loop_new(err);
    if (!loop)
        return -(int)err->code;
    // The loop blocks the signals first, so that the threads of the library do not get them.
    int rc = ty_loop_add_signal(loop, SIGTERM, on_signal, loop, err);
    if (rc == 0)
        rc = ty_loop_add_signal(loop, SIGINT, on_signal, loop, err);
    if (rc == 0)
        rc = ty_devbroker_new(settings, &broker, err);
    if (rc == 0) {
        ty_log(TY_LOG_INFO, "devbroker.ready", TY_KV("listen", "%s", ty_devbroker_address(broker)));
        rc = ty_loop_run(loop, err);
    }
    ty_devbroker_free(broker);
    ty_loop_free(loop);
    return rc;
}

static int complain(const struct ty_err *err)
{
    fprintf(stderr, "trainyard-devbroker: %s\n", err->message);
    return ty_code_exit(err->code);
}

int main(int argc, char **argv)
{
    struct ty_devbroker_settings settings = {0};
    struct ty_err err;
    int rc = 0;
    signal(SIGPIPE, SIG_IGN);
    if (ty_settings_has_flag(argc, argv, "--help")) {
        ty_settings_help(&ty_devbroker_settings_table, stdout);
        fputc('\n', stdout);
        print_limits(stdout);
        return 0;
    }
    if (ty_settings_has_flag(argc, argv, "--help-markdown")) {
        ty_settings_markdown(&ty_devbroker_settings_table, stdout);
        return 0;
    }
    if (ty_settings_has_flag(argc, argv, "--version")) {
        ty_devbroker_print_version(stdout);
        return 0;
    }
    if (ty_settings_load(&ty_devbroker_settings_table, &settings, argc, argv, NULL, NULL, &err) < 0) {
        rc = complain(&err);
    } else {
        ty_log_setup("trainyard-devbroker", (enum ty_log_level)settings.log_level,
                     (enum ty_log_format)settings.log_format);
        print_limits(stderr);
        if (run(&settings, &err) < 0)
            rc = complain(&err);
    }
    ty_settings_done(&ty_devbroker_settings_table, &settings);
    return rc;
}
