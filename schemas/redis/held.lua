#!lua flags=allow-oom
-- Held jobs end: cancels that nobody who may have had the job has spoken for in time, and what the lease clock has ended. Each is
-- disowned first (see `disown`), and ends when Kafka knows that. Beside it: whether the submits are here that the store lacked when
-- it was brought back. ARGV: prefix, publisher, tombstone_ms, limit.
-- Answer: {how many ended, (id, latest attempt) of each...}: the caller removes the logs, or where the attempt is negative has them say
-- that no other comes. {0} while the store is being brought back, for a lease after that, and when another publisher has the lease.
local ttl_ms, now, out = ARGV[3], now_us(), { 0 }
local SUBMITS_US = 3600 * 1000000

-- Whether the submits are here that the store lacked when it was brought back. Not for ever: retention may have taken them.
local function look_for_submits()
    local due = redis.call('HGET', K .. 'm', 'submits')
    if not due then return end
    local since, ends = string.match(due, '^(%d+)(.*)$')
    local is_late = now - tonumber(since) > SUBMITS_US
    for partition, stop in string.gmatch(ends, '(%S+) (%d+)') do
        if not is_late and tonumber(redis.call('HGET', K .. 'w', partition) or 0) < tonumber(stop) then return end
    end
    redis.call('HDEL', K .. 'm', 'submits')
end

if redis.call('GET', K .. 'p') ~= ARGV[2] or must_wait(0) then return out end
look_for_submits()
if is_coming_back(now) then return out end
-- Those that are disowned.
for _, id in ipairs(redis.call('ZRANGE', K .. 'z', 0, ARGV[4] - 1)) do
    local raw = redis.call('GET', K .. 'j:' .. id)
    local h = raw and decode(raw)
    if not h or not is_disowned(h) then
        redis.call('ZREM', K .. 'z', id)
    elseif not redis.call('ZSCORE', K .. 'o', id) then
        local from, extra = h.state, ''
        redis.call('ZREM', K .. 'z', id)
        if from == CANCELING then
            h.reason = REASON_CANCELED
        elseif h.reason == REASON_WAIT_LIMIT then
            extra = tail(2, wait_patch(h, wait_end_of(h, raw) or h.created))
        elseif h.reason == REASON_QUARANTINED then
            extra = tail(2, quarantine_patch(h))
        else
            h.reason, extra = REASON_WORKER_LOST, tail(2, last_loss_patch(h))
        end
        h.state = T.end_disowned[from]
        raw = put(id, h, raw, from, extra, now)
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
-- Cancels that were held long enough.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K .. 'h', '-inf', int(now), 'LIMIT', 0, ARGV[4])) do
    redis.call('ZREM', K .. 'h', id)
    local raw = redis.call('GET', K .. 'j:' .. id)
    local h = raw and decode(raw)
    if h and h.state == CANCELING and not is_disowned(h) then disown(id, h, raw, REASON_NO_ATTEMPT_LEFT, now) end
end
return out
