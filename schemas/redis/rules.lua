#!lua flags=allow-oom
-- What operators set: rules of the queues, and access keys (on shard 0). ARGV: prefix, tombstone_ms, watermark (3..6, see advance),
-- then (name, value or '' to take a rule back, offset)... Answer: {-1, stored} on a gap, else {0, 0}.
-- What the store has passed before is passed over: an older record that is read again must not stand for a moment in the place of
-- a later one.
local passed = tonumber(redis.call('HGET', K .. 'w', ARGV[3]) or 0)
local stored = advance()
if stored then return { -1, stored } end
local for_all, is_rule = false, false
-- A key or its revocation, which stand beside each other. Their order is what readers go by: it rises, also where the clock went back.
local function put_key(name, value)
    if redis.call('HGET', K .. 'a', name) == value then return end
    local at = math.max(now_us(), tonumber(redis.call('HGET', K .. 'm', 'keys_at') or 0) + 1)
    redis.call('HSET', K .. 'a', name, value)
    redis.call('ZADD', K .. 'v', int(at), name)
    redis.call('HSET', K .. 'm', 'keys_at', int(at))
end
for i = 7, #ARGV, 3 do
    local name, value = ARGV[i], ARGV[i + 1]
    if ARGV[3] == '' or tonumber(ARGV[i + 2]) >= passed then
        local kind, org = string.match(name, '^(%a+)/(.*)$')
        if kind == 'key' or kind == 'revoked' then
            put_key(name, value)
        else
            is_rule = true
            if value == '' then redis.call('HDEL', K .. 'g', name) else redis.call('HSET', K .. 'g', name, value) end
            if org == '*' then for_all = true else unpark(org) end
        end
    end
end
-- Whoever may still not begin is parked again when its turn comes.
if for_all then
    for _, org in ipairs(redis.call('HKEYS', K .. 'y')) do unpark(org) end
end
if is_rule then redis.call('PUBLISH', K .. 'n', 'r') end
return { 0, 0 }
