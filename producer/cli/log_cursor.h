// Where a reader of a job's log stands, so that each entry is printed once however often pages are asked for. Pure.
//
// The API's last page has no token, also while the job still runs. A responder of ours says in trailing metadata where
// that page ended ("trainyard-log-position", a token like any other); from another server the last page is asked for
// again, and what was printed of it is skipped.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct ty_log_cursor {
    char *token; // to ask for; NULL: the start. Owned
    size_t skip; // entries behind the token that were printed already
};

void ty_log_cursor_done(struct ty_log_cursor *cursor);
// A page asked for with cursor->token came: `count` entries, its next token (NULL or "": it is the last page) and position
// (NULL: not said). Returns the index of the first entry to print (count when there is none) and moves on; *ret_more says
// that another page is there at once.
size_t ty_log_cursor_take(struct ty_log_cursor *cursor, size_t count, const char *next, const char *position,
                          bool *ret_more);
