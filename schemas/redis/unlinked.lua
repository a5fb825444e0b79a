#!lua
-- Completed jobs whose model has not got its public name within age_ms: their worker may be gone. ARGV: prefix, age_ms, max.
-- Answer: {id, record, ...}; each is given out again only after another age_ms. One whose end Kafka does not know yet is put off
-- as well: a store that goes back may end the job by another attempt. A store that never had a publisher has nobody to wait for.
local key, now, out = K .. 'u', now_us(), {}
local has_publisher = redis.call('HEXISTS', K .. 'm', 'read') == 1
local ids = redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%.0f', now - tonumber(ARGV[2]) * 1000), 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do
    local raw = redis.call('GET', K .. 'j:' .. id)
    if raw and decode(raw).state == COMPLETED then
        redis.call('ZADD', key, now, id)
        if not has_publisher or not redis.call('ZSCORE', K .. 'o', id) then
            out[#out + 1] = id
            out[#out + 1] = raw
        end
    else
        redis.call('ZREM', key, id)
    end
end
return out
