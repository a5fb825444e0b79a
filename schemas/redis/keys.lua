#!lua
-- The access keys and revocations that were put here after one. ARGV: prefix, the order of that one (0: all), max.
-- Answer: {1 when the store has all that Kafka said before it was looked at, incarnation, the
-- order of the last of all, 1 when more follow, then order, name, value...}.
local facts = redis.call('HMGET', K .. 'm', 'replay', 'incarnation', 'keys_at')
local max = tonumber(ARGV[3])
local found = redis.call('ZRANGEBYSCORE', K .. 'v', '(' .. ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, max)
local out = { facts[1] == 'done' and 1 or 0, facts[2] or '', facts[3] or '0', #found == 2 * max and 1 or 0 }
for i = 1, #found, 2 do
    out[#out + 1] = found[i + 1]
    out[#out + 1] = found[i]
    out[#out + 1] = redis.call('HGET', K .. 'a', found[i]) or ''
end
return out
