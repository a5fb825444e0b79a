// Channels of a subscriber: asked for, confirmed, left. hiredis keeps one callback a name, so a name that is being left is
// asked for again only when the server has let go of it.
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/redis_internal.h"

enum { OUT, ASKED, IN, LEAVING };

static void on_reply(redisAsyncContext *connection, void *raw, void *context);

static void ask(struct ty_redis_channel *channel)
{
    channel->place = ASKED;
    redisAsyncCommand(channel->redis->connection, on_reply, channel, "SUBSCRIBE %s", channel->name);
}

static void leave(struct ty_redis_channel *channel)
{
    channel->place = LEAVING;
    redisAsyncCommand(channel->redis->connection, NULL, NULL, "UNSUBSCRIBE %s", channel->name);
}

static void drop(struct ty_redis_channel *channel)
{
    *channel->at = channel->next;
    if (channel->next)
        channel->next->at = channel->at;
    free(channel->name);
    free(channel);
}

static bool all_are_in(const struct ty_redis *redis)
{
    for (const struct ty_redis_channel *channel = redis->channels; channel; channel = channel->next)
        if (channel->fn && channel->place != IN)
            return false;
    return true;
}

// The server's word on what was asked for last; what was wanted may have changed meanwhile.
static void on_word(struct ty_redis_channel *channel, bool is_in)
{
    struct ty_redis *redis = channel->redis;
    channel->place = is_in ? IN : OUT;
    if (is_in && !channel->fn)
        leave(channel);
    else if (!is_in && channel->fn)
        ask(channel);
    else if (!is_in)
        drop(channel);
    if (!redis->up && all_are_in(redis))
        ty_redis_link_set_up(redis);
}

static void on_reply(redisAsyncContext *connection, void *raw, void *context)
{
    const redisReply *reply = raw;
    struct ty_redis_channel *channel = context;
    (void)connection;
    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return;
    if (reply->element[2]->type == REDIS_REPLY_INTEGER)
        on_word(channel, reply->element[0]->str[0] == 's');
    else if (channel->fn && reply->element[2]->type == REDIS_REPLY_STRING)
        channel->fn(channel->context, channel->name, reply->element[2]->str, reply->element[2]->len);
}

void ty_redis_channels_ask(struct ty_redis *redis)
{
    redis->listening = true;
    for (struct ty_redis_channel *channel = redis->channels; channel; channel = channel->next)
        ask(channel);
}

void ty_redis_channels_lose(struct ty_redis *redis)
{
    redis->listening = false;
    for (struct ty_redis_channel *channel = redis->channels, *next; channel; channel = next) {
        next = channel->next;
        channel->place = OUT;
        if (!channel->fn)
            drop(channel);
    }
}

void ty_redis_channels_free(struct ty_redis *redis)
{
    while (redis->channels)
        drop(redis->channels);
}

void ty_redis_subscribe(struct ty_redis *redis, const char *name, ty_redis_message_fn fn, void *context)
{
    struct ty_redis_channel *channel = redis->channels;
    while (channel && strcmp(channel->name, name) != 0)
        channel = channel->next;
    if (channel) { // it is being left
        channel->fn = fn;
        channel->context = context;
        return;
    }
    channel = ty_xcalloc(1, sizeof *channel);
    *channel = (struct ty_redis_channel){.redis = redis, .name = ty_xstrdup(name), .fn = fn, .context = context,
                                         .next = redis->channels, .at = &redis->channels};
    if (channel->next)
        channel->next->at = &channel->next;
    redis->channels = channel;
    if (redis->listening)
        ask(channel);
}

void ty_redis_unsubscribe(struct ty_redis *redis, const char *name)
{
    struct ty_redis_channel *channel = redis->channels;
    while (channel && strcmp(channel->name, name) != 0)
        channel = channel->next;
    if (!channel)
        return;
    channel->fn = NULL;
    if (channel->place == OUT)
        drop(channel);
    else if (channel->place == IN)
        leave(channel);
}
