// What concerns the library as a whole: its version, the names of codes, where its log goes.
#include <pthread.h>
#include <stddef.h>

#include "core/err.h"
#include "core/log.h"
#include "producer/library.h"
#include "producer/trainyard.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static trainyard_log_fn log_fn;
static void *log_context;

const char *trainyard_version(void)
{
    return TY_VERSION;
}

const char *trainyard_code_name(int code)
{
    if (code == 0)
        return "OK";
    for (int ours = TY_OK + 1; ours < TY_CODES; ours++)
        if (ty_code_grpc((enum ty_code)ours) == code)
            return ty_code_name((enum ty_code)ours);
    return "UNKNOWN";
}

static void on_line(void *context, enum ty_log_level level, const char *line, size_t len)
{
    (void)context;
    (void)len;
    if (log_fn)
        log_fn(log_context, (enum trainyard_log_level)level, line);
}

static void be_silent(void)
{
    ty_log_to(on_line, NULL);
}

void ty_library_init(void)
{
    pthread_once(&once, be_silent);
}

void trainyard_set_log(trainyard_log_fn fn, void *context, enum trainyard_log_level level)
{
    ty_library_init();
    ty_log_setup("libtrainyard", (enum ty_log_level)level, TY_LOG_TEXT);
    log_context = context;
    log_fn = fn;
}

_Static_assert((int)TRAINYARD_LOG_DEBUG == (int)TY_LOG_DEBUG && (int)TRAINYARD_LOG_INFO == (int)TY_LOG_INFO &&
                   (int)TRAINYARD_LOG_WARN == (int)TY_LOG_WARN && (int)TRAINYARD_LOG_ERROR == (int)TY_LOG_ERROR,
               "the levels have the same numbers");
