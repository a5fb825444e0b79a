#!lua flags=allow-oom
-- One tick of the lease clock. ARGV: prefix, tombstone_ms, default max attempts, lease_ms, limit, tick_ms.
-- Nothing expires until the store has been in contact for one whole lease: a gap between ticks (the store was away, went
-- back, or is new) starts that time. Answer: {how many leases were taken, (id, latest attempt) of each job that was removed...}: the caller removes
-- their logs.
local ttl_ms, default_attempts, lease_us = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]) * 1000
local now, meta = now_us(), K .. 'm'
local last = tonumber(redis.call('HGET', meta, 'tick') or 0)
local patience = math.max(4 * tonumber(ARGV[6]), 3000) * 1000
local grace = tonumber(redis.call('HGET', meta, 'grace_until') or 0)
if now - last > patience or now < last then
    grace = now + lease_us
    redis.call('HSET', meta, 'grace_until', string.format('%.0f', grace))
end
redis.call('HSET', meta, 'tick', string.format('%.0f', now))
if now < grace then return { 0 } end
local ids = redis.call('ZRANGEBYSCORE', K .. 'l', '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[5])
local taken, queued, out = 0, false, { 0 }
for _, id in ipairs(ids) do
    redis.call('ZREM', K .. 'l', id)
    local raw = redis.call('GET', K .. 'j:' .. id)
    local h = raw and decode(raw)
    if h and (h.state == IN_PROGRESS or h.state == CANCELING) then
        h.losses = h.losses + 1
        local limit = h.max_attempts > 0 and h.max_attempts or default_attempts
        local event = h.losses + h.errors >= limit and 'expire_last' or 'expire'
        local from, extra = h.state, ''
        h.state, h.reason = T[event][from], REASON_WORKER_LOST
        if h.state == FAILED then
            extra = tail(2, error_patch(14, 'worker lost: no heartbeat for one lease, and no attempt is left after ' ..
                h.losses .. ' lost workers'))
        elseif h.state == CANCELED then
            h.reason = REASON_CANCELED
        else
            -- The token stays: as long as nobody else claims it, the attempt that still runs may renew.
            h.stage = 0
        end
        raw = put(id, h, raw, from, extra, now)
        if h.state == PENDING then
            enqueue(id, h, raw)
            queued = true
        elseif has(h.flags, FLAG_DELETE) then
            forget(id, h, raw, ttl_ms)
            out[#out + 1] = id
            out[#out + 1] = h.attempt
        end
        taken = taken + 1
    end
end
if taken > 0 then redis.call('HINCRBY', meta, 'leases_taken', taken) end
if queued then redis.call('PUBLISH', K .. 'n', 'r') end
out[1] = taken
return out
