#include "producer/cli/kafka_trouble.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "producer/trainyard.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char last[384];

// A line is ... facility=FAIL message="[thrd:where]: host:port/name: what happened".
bool ty_kafka_trouble_parse(const char *line, char *out, size_t size)
{
    static const char key[] = "message=\"";
    const char *text = strstr(line, key);
    if (!strstr(line, "facility=FAIL ") || !text)
        return false;
    text += sizeof key - 1;
    const char *thread_end = *text == '[' ? strstr(text, "]: ") : NULL;
    if (thread_end)
        text = thread_end + 3;
    const char *end = strstr(text, " (after "); // how often and how long, which changes from line to line
    if (!end)
        end = strrchr(text, '"');
    snprintf(out, size, "%.*s", end ? (int)(end - text) : (int)strlen(text), text);
    return true;
}

static void on_line(void *context, enum trainyard_log_level level, const char *line)
{
    char text[sizeof last];
    (void)context;
    (void)level;
    if (!ty_kafka_trouble_parse(line, text, sizeof text))
        return;
    pthread_mutex_lock(&lock);
    memcpy(last, text, sizeof last);
    pthread_mutex_unlock(&lock);
}

void ty_kafka_trouble_init(void)
{
    trainyard_set_log(on_line, NULL, TRAINYARD_LOG_ERROR);
}

int ty_kafka_trouble_explain(const char *brokers, struct ty_err *err)
{
    char text[sizeof last];
    pthread_mutex_lock(&lock);
    memcpy(text, last, sizeof text);
    pthread_mutex_unlock(&lock);
    size_t len = strlen(err->message);
    if (*text)
        snprintf(err->message + len, sizeof err->message - len, " (%s)", text);
    return strstr(err->message, brokers) ? -(int)err->code : ty_err_prefix(err, "brokers %.128s", brokers);
}
