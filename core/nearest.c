#include "core/nearest.h"

#include <stdint.h>
#include <string.h>

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

// Letters to add, drop or change, or neighbours to swap.
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 32 };
    size_t a_len = strlen(a), b_len = strlen(b);
    size_t rows[LONGEST + 1][LONGEST + 1];
    if (a_len > LONGEST || b_len > LONGEST)
        return SIZE_MAX;
    for (size_t i = 0; i <= a_len; i++)
        for (size_t j = 0; j <= b_len; j++) {
            if (!i || !j) {
                rows[i][j] = i + j;
                continue;
            }
            rows[i][j] = smallest(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && rows[i - 2][j - 2] + 1 < rows[i][j])
                rows[i][j] = rows[i - 2][j - 2] + 1;
        }
    return rows[a_len][b_len];
}

const char *ty_nearest(const char *text, ty_nearest_word_fn word, const void *context, size_t count)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        const char *candidate = word(context, i);
        size_t near = distance(text, candidate);
        size_t allowed = strlen(candidate) <= 4 ? 1 : strlen(candidate) <= 7 ? 2 : 3;
        // What begins like it is meant, too ("cont" for "containers").
        if (near > allowed && strlen(text) >= 3 && !strncmp(text, candidate, strlen(text)))
            near = allowed;
        if (near <= allowed && near < best_distance) {
            best = candidate;
            best_distance = near;
        }
    }
    return best;
}
