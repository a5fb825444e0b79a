// What --version prints: ours, and those of the libraries in use.
#pragma once

#include <stdio.h>

void ty_responder_print_version(FILE *out);
