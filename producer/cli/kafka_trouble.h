// What Kafka's client last complained of, for error messages: its own errors say little more than "timed out". The
// project's log goes nowhere else in this program. Thread-safe.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

// Once, at start.
void ty_kafka_trouble_init(void);
// Adds to an error that came from Kafka which brokers were asked, and the last complaint when there is one.
int ty_kafka_trouble_explain(const char *brokers, struct ty_err *err);
// The complaint in a line of the log, cut to what matters; false for lines that are none. Pure.
bool ty_kafka_trouble_parse(const char *line, char *out, size_t size);
