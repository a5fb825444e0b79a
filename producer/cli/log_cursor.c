#include "producer/cli/log_cursor.h"

#include <stdlib.h>

#include "core/buf.h"

void ty_log_cursor_done(struct ty_log_cursor *cursor)
{
    free(cursor->token);
    *cursor = (struct ty_log_cursor){0};
}

static void move_to(struct ty_log_cursor *cursor, const char *token, size_t skip)
{
    free(cursor->token);
    cursor->token = ty_xstrdup(token);
    cursor->skip = skip;
}

size_t ty_log_cursor_take(struct ty_log_cursor *cursor, size_t count, const char *next, const char *position, bool *ret_more)
{
    size_t first = cursor->skip < count ? cursor->skip : count;
    *ret_more = next && *next;
    if (*ret_more)
        move_to(cursor, next, cursor->skip - first); // a shorter page than last time: the rest is skipped on the next one
    else if (position && *position)
        move_to(cursor, position, cursor->skip - first);
    else if (count > cursor->skip)
        cursor->skip = count;
    return first;
}
