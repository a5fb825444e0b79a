#!lua
-- Completed jobs whose model has not got its public name within age_ms: their worker may be gone. ARGV: prefix, age_ms, max.
-- Answer: {id, record, ...}; each is given out again only after another age_ms.
local key, now, out = K .. 'u', now_us(), {}
local ids = redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%.0f', now - tonumber(ARGV[2]) * 1000), 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do
    local raw = redis.call('GET', K .. 'j:' .. id)
    if raw and decode(raw).state == COMPLETED then
        redis.call('ZADD', key, now, id)
        out[#out + 1] = id
        out[#out + 1] = raw
    else
        redis.call('ZREM', key, id)
    end
end
return out
