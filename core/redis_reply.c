#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/redis_internal.h"

#define NODES_KEPT 4096

static size_t count_nodes(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY)
        return 0;
    size_t count = reply->elements;
    for (size_t i = 0; i < reply->elements; i++)
        count += count_nodes(reply->element[i]);
    return count;
}

static void fill(const redisReply *from, struct ty_redis_reply *to, struct ty_redis_reply **free_nodes)
{
    *to = (struct ty_redis_reply){.bytes = from->str, .len = from->len};
    switch (from->type) {
    case REDIS_REPLY_STRING:
        to->type = TY_REDIS_BYTES;
        break;
    case REDIS_REPLY_STATUS:
        to->type = TY_REDIS_STATUS;
        break;
    case REDIS_REPLY_ERROR:
        to->type = TY_REDIS_ERROR;
        break;
    case REDIS_REPLY_INTEGER:
        *to = (struct ty_redis_reply){.type = TY_REDIS_INT, .integer = from->integer};
        break;
    case REDIS_REPLY_ARRAY: {
        struct ty_redis_reply *items = *free_nodes;
        *free_nodes += from->elements;
        for (size_t i = 0; i < from->elements; i++)
            fill(from->element[i], &items[i], free_nodes);
        *to = (struct ty_redis_reply){.type = TY_REDIS_ARRAY, .count = from->elements, .items = items};
        break;
    }
    default:
        *to = (struct ty_redis_reply){.type = TY_REDIS_NIL};
        break;
    }
}

void ty_redis_reply_convert(const redisReply *from, struct ty_redis_reply *to, struct ty_redis_nodes *nodes)
{
    size_t count = count_nodes(from);
    if (nodes->cap > NODES_KEPT && count <= NODES_KEPT) {
        free(nodes->items);
        *nodes = (struct ty_redis_nodes){0};
    }
    if (!nodes->items || count > nodes->cap) {
        free(nodes->items);
        nodes->cap = count < 64 ? 64 : count;
        nodes->items = ty_xmalloc(nodes->cap * sizeof *nodes->items);
    }
    struct ty_redis_reply *free_nodes = nodes->items;
    fill(from, to, &free_nodes);
}

bool ty_redis_reply_starts(const struct ty_redis_reply *reply, const char *word)
{
    size_t len = strlen(word);
    return reply->len >= len && !memcmp(reply->bytes, word, len);
}

bool ty_redis_reply_refused(const struct ty_redis_reply *reply, struct ty_err *err)
{
    static const char *const away[] = {"LOADING ",  "READONLY ", "MASTERDOWN ", "CLUSTERDOWN ",
                                       "TRYAGAIN ", "BUSY ",     "MISCONF ",    "NOREPLICAS "};
    for (size_t i = 0; i < sizeof away / sizeof *away; i++)
        if (ty_redis_reply_starts(reply, away[i])) {
            ty_err_set(err, TY_EUNAVAILABLE, "Redis: %.*s", (int)reply->len, reply->bytes);
            return true;
        }
    if (ty_redis_reply_starts(reply, "OOM ")) {
        ty_err_set(err, TY_EEXHAUSTED, "Redis is full: %.*s", (int)reply->len, reply->bytes);
        return true;
    }
    return false;
}
