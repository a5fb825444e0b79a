#!lua flags=allow-oom
-- One tick of the lease clock. ARGV: prefix, tombstone_ms, site (see site_of), lease_ms, limit, tick_ms, tick (see must_wait).
-- Jobs whose back-off is over go to their queues; leases that passed are taken; what has waited too long for its first claim fails.
-- Nothing expires until the store has been in contact for one whole lease: a gap between ticks (the store was away, went
-- back, or is new) starts that time. Answer: {how many leases were taken, this tick (0 where the store has no publisher who could
-- bring it back), (id, latest attempt, 0 in the queue again, or disowned | 1 ended | 2 removed) of each job whose lease it was...}: the caller
-- seals their logs, or removes them.
local ttl_ms, site, lease_us = ARGV[2], site_of(ARGV[3]), tonumber(ARGV[4]) * 1000
local DUE_LIMIT = 1000

-- Pending jobs that nobody has claimed within their max_wait_s fail, a pause or not: how long it is worth to wait is for who submits to say.
-- A store that was brought back may have forgotten a claim, so that whoever has it may say so for a lease: from then on, and for a
-- job whose submit came again only later, from when that was found here (as for cancels, see is_unsure).
local function end_waits(now, limit, has_publisher)
    local found = redis.call('ZRANGEBYSCORE', K .. 'i', '-inf', int(now), 'WITHSCORES', 'LIMIT', 0, limit)
    if #found == 0 or is_coming_back(now) then return end
    for at = 1, #found, 2 do
        local id, score = found[at], tonumber(found[at + 1])
        local raw = redis.call('GET', K .. 'j:' .. id)
        local h = raw and decode(raw)
        local to = h and h.attempt == 0 and not is_disowned(h) and T.wait_over[h.state]
        local wait_end = to and wait_end_of(h, raw)
        if not wait_end then
            redis.call('ZREM', K .. 'i', id) -- a program that does not know of this index has claimed or ended it
        elseif wait_end > now then
            redis.call('ZADD', K .. 'i', int(wait_end), id)
        elseif score == wait_end and is_unsure(h, now) then
            redis.call('ZADD', K .. 'i', int(now + back_lease_us()), id)
        else
            dequeue(id, h, raw)
            if has_publisher then
                disown(id, h, raw, REASON_WAIT_LIMIT, now)
            else
                h.state, h.reason = to, REASON_WAIT_LIMIT
                put(id, h, raw, PENDING, tail(2, wait_patch(h, wait_end)), now)
            end
        end
    end
end

local now, meta = now_us(), K .. 'm'
local waits = must_wait(tonumber(ARGV[7]))
local last = tonumber(redis.call('HGET', meta, 'tick') or 0)
local patience = math.max(4 * tonumber(ARGV[6]), 3000) * 1000
local grace = tonumber(redis.call('HGET', meta, 'grace_until') or 0)
if now - last > patience or now < last then
    grace = now + lease_us
    redis.call('HSET', meta, 'grace_until', string.format('%.0f', grace))
end
redis.call('HSET', meta, 'tick', string.format('%.0f', now))
local queued = false
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K .. 'd', '-inf', int(now), 'LIMIT', 0, DUE_LIMIT)) do
    redis.call('ZREM', K .. 'd', id)
    local raw = redis.call('GET', K .. 'j:' .. id)
    local h = raw and decode(raw)
    if h and h.state == PENDING and not is_disowned(h) then
        redis.call('ZREM', K .. 'q:' .. pool_of(h, raw), id) -- where a program before the rotation may have put it meanwhile
        make_ready(id, h, raw)
        queued = true
    end
end
local tick = redis.call('HEXISTS', meta, 'read') == 1 and now or 0
if waits or now < grace then
    if queued then redis.call('PUBLISH', K .. 'n', 'r') end
    return { 0, tick }
end
end_waits(now, ARGV[5], tick > 0)
local ids = redis.call('ZRANGEBYSCORE', K .. 'l', '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[5])
local taken, out = 0, { 0, tick }
for _, id in ipairs(ids) do
    redis.call('ZREM', K .. 'l', id)
    local raw = redis.call('GET', K .. 'j:' .. id)
    local h = raw and decode(raw)
    if h and (h.state == IN_PROGRESS or h.state == CANCELING) then
        -- An attempt that has reported a stage has started; one that has not is no fault of the job's, and counts nothing.
        local started, event = h.stage > 1, 'expire'
        if started then event = strike(h, site, true, 'expire', 'expire_last') end
        local from, to, extra, what = h.state, T[event][h.state], '', 1
        if tick > 0 and terminal(to) then
            -- An end that Kafka could lose is told to nobody: it comes when Kafka knows that nobody has the job.
            local is_too_often = from == IN_PROGRESS and event == 'quarantine'
            disown(id, h, raw, is_too_often and REASON_QUARANTINED or REASON_NO_ATTEMPT_LEFT, now)
            what = 0
        else
            h.state, h.reason = to, started and REASON_WORKER_LOST or REASON_NOT_STARTED
            if to == FAILED and event == 'quarantine' then
                h.reason, extra = REASON_QUARANTINED, tail(2, quarantine_patch(h))
            elseif to == FAILED then
                extra = tail(2, last_loss_patch(h))
            elseif to == CANCELED then
                h.reason = REASON_CANCELED
            else
                -- The token stays: as long as nobody else claims it, the attempt that still runs may renew.
                h.stage = 0
                local _, unstarted = back_off_of(h, raw)
                unstarted = started and 0 or unstarted + 1
                extra = back_off(id, h, raw, site, started and h.losses + h.errors or unstarted, unstarted, now)
            end
            raw = put(id, h, raw, from, extra, now)
            if to == PENDING then
                enqueue(id, h, raw)
                queued = true
                what = 0
            elseif has(h.flags, FLAG_DELETE) then
                forget(id, h, raw, ttl_ms)
                what = 2
            end
        end
        local at = #out
        out[at + 1], out[at + 2], out[at + 3] = id, h.attempt, what
        taken = taken + 1
    end
end
if taken > 0 then redis.call('HINCRBY', meta, 'leases_taken', taken) end
if queued then redis.call('PUBLISH', K .. 'n', 'r') end
out[1] = taken
return out
