// Shell commands of a test, and text files.
#pragma once

#include "core/buf.h"

// Runs a command, stderr with stdout; returns its exit status (-1: none) and what it wrote as text in out.
int command_output(struct ty_buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Fails the test when the command does not exit with 0.
void command_succeeds(struct ty_buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The whole file as text; fails the test when there is none.
void read_text(const char *path, struct ty_buf *out);
