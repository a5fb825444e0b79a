#!lua flags=allow-oom
-- Cancels that were held are done: nobody who may have had the job has said so. ARGV: prefix, publisher, tombstone_ms, limit.
-- Answer: {how many ended, (id, latest attempt) of each...}: the caller removes the logs, or where the attempt is negative has them say
-- that no other comes. {0} while the store is being brought back, for a lease after that, and when another publisher has the lease.
local ttl_ms, now, out = ARGV[3], now_us(), { 0 }
local back = redis.call('HMGET', K .. 'm', 'back_at', 'back_lease')
if redis.call('GET', K .. 'p') ~= ARGV[2] or must_wait(0) or now < tonumber(back[1] or 0) + tonumber(back[2] or 0) then return out end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K .. 'h', '-inf', int(now), 'LIMIT', 0, ARGV[4])) do
    redis.call('ZREM', K .. 'h', id)
    local raw = redis.call('GET', K .. 'j:' .. id)
    local h = raw and decode(raw)
    if h and h.state == CANCELING then
        h.state = T.expire[h.state]
        raw = put(id, h, raw, CANCELING, '', now)
        out[1] = out[1] + 1
        if has(h.flags, FLAG_DELETE) then
            forget(id, h, raw, ttl_ms)
            out[#out + 1] = id
            out[#out + 1] = h.attempt
        elseif h.attempt > 0 then
            out[#out + 1] = id
            out[#out + 1] = -h.attempt
        end
    end
end
return out
