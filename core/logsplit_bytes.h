// Inside the log splitter only: what bytes are by themselves, without a state. Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TY_LOGSPLIT_SEQUENCE_MAX 4096u // an escape sequence that has not ended by then is none

enum ty_escape {
    TY_ESCAPE_TEXT,     // in no sequence
    TY_ESCAPE_BEGUN,    // ESC
    TY_ESCAPE_CSI,      // ESC [, and its parameters
    TY_ESCAPE_CSI_LATE, // behind them
    TY_ESCAPE_SHORT,    // ESC and an intermediate byte
    TY_ESCAPE_STRING,   // ESC ] and others, until BEL or ESC "\"
    TY_ESCAPE_STRING_ESC,
    TY_ESCAPE_ENDED, // with this byte, which belongs to it
    TY_ESCAPE_NONE,  // this byte does not belong to it, and it was none
};
enum ty_escape ty_logsplit_next_escape(enum ty_escape escape, uint8_t byte);

// Whether byte may stand at place `at` (1 to 3) of a character that begins with `first`.
bool ty_logsplit_may_follow(uint8_t first, unsigned at, uint8_t byte);
// How many bytes at the start are clean: printable ASCII, tabs, and whole characters beyond that are no controls.
size_t ty_logsplit_clean_run(const uint8_t *bytes, size_t len);
// The bytes of the CSI sequence that begins here and ends before `len`; 0: there is none.
size_t ty_logsplit_whole_sequence(const uint8_t *bytes, size_t len);
