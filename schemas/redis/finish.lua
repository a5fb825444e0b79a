#!lua flags=allow-oom
-- An attempt ends. ARGV: prefix, tombstone_ms, site (see site_of), then for each job: id, token, attempt, action
-- (C completed, M completed with a model to be named, F failed, X stopped, H hand back, R retry), reason, patch.
-- Answer, one each: 1 done, 2 already done by this token, 3 stale, 4 unknown, 5 done and deleted, 6 later: the store went back, and
-- Kafka may know of a later attempt, or that none has the job any more.
local ttl_ms, site, now, out = ARGV[2], site_of(ARGV[3]), now_us(), {}
-- Reasons of attempts that had begun to train, whether a renewal came to say so or not: script_exit, signal, empty_output, collect_failed.
local TRAINED = { [1] = true, [2] = true, [6] = true, [9] = true }
local EVENT = { C = 'complete', M = 'complete', F = 'fail', X = 'stopped', H = 'hand_back', R = 'retry' }
local queued, ids, seen = false, {}, {}
local known = redis.call('HMGET', K .. 'm', 'read', 'replay')
local is_coming = known[1] and (known[2] == 'needed' or known[2] == 'asked')
-- What an attempt tells of a job that has ended: what it has told before, or it is too late.
local function already(state, action)
    return (state == COMPLETED or not (action == 'C' or action == 'M')) and 2 or 3
end
for i = 4, #ARGV, 6 do ids[#ids + 1] = ARGV[i] end
local raws = fetch(ids)
gather()
for n, id in ipairs(ids) do
    local i, raw = 6 * n - 2, raws[n]
    local token, attempt = ARGV[i + 1], tonumber(ARGV[i + 2])
    local action, reason, patch = ARGV[i + 3], tonumber(ARGV[i + 4]), ARGV[i + 5]
    if seen[id] then
        flush()
        raw = redis.call('GET', K .. 'j:' .. id)
    end
    seen[id] = true
    local result = 3
    if not raw then
        result = is_coming and 6 or 4
    else
        local h = decode(raw)
        if h.state == 0 then
            result = has(h.flags, FLAG_DELETE) and 2 or (is_coming and 6 or 4)
        elseif is_disowned(h) then
            result = 3
        elseif is_coming then
            result = 6
        elseif is_owner(h, token, attempt) then
            local event = EVENT[action]
            if not terminal(h.state) then
                -- A supervisor that vanished under its job is a loss, like a worker; one that never began is an error.
                local started = h.stage > 1 or h.reason == REASON_WORKER_LOST
                unlose(h)
                if event == 'retry' and not given_back(h) then
                    event = strike(h, site, started and reason == REASON_WORKER_LOST, 'retry', 'give_up')
                end
            end
            local from, to = h.state, T[event][h.state]
            if terminal(from) then
                result = already(from, action)
            elseif given_back(h) then
                result = 2
            elseif to then
                result = 1
                h.state, h.reason = to, reason
                if h.started == 0 and (to == COMPLETED or TRAINED[reason]) then h.started = now end
                local held = ''
                if to == CANCELED then
                    h.reason, patch = REASON_CANCELED, ''
                elseif to == PENDING then
                    patch, h.stage = '', 0
                    held = event == 'retry' and back_off(id, h, raw, site, h.errors + h.losses, 0, now) or
                        no_back_off(h, raw, now)
                elseif event == 'quarantine' then
                    h.reason, patch = REASON_QUARANTINED, quarantine_patch(h)
                end
                if to == PENDING then h.lease_ms = 0 end
                release(id, h, raw, from)
                raw = put(id, h, raw, from, tail(2, patch) .. held, now)
                change('ZREM', K .. 'l', id)
                if action == 'M' then change('ZADD', K .. 'u', int(now), id) end
                if to == PENDING then
                    enqueue(id, h, raw)
                    queued = true
                elseif has(h.flags, FLAG_DELETE) then
                    flush()
                    forget(id, h, raw, ttl_ms)
                    result = 5
                end
            end
        elseif h.token == NO_TOKEN and attempt > 0 and attempt == h.attempt then
            -- Made again from its event: the attempt's renewal says whose it is. An end stands.
            result = terminal(h.state) and already(h.state, action) or 4
        elseif T.adopt_forgotten[h.state] and attempt > h.attempt then
            -- The store went back to before this attempt's claim; its renewal will take the job up again first.
            result = 4
        end
        if result == 3 then redis.call('HINCRBY', K .. 'm', 'stale_refused', 1) end
    end
    out[#out + 1] = result
end
flush()
if queued then redis.call('PUBLISH', K .. 'n', 'r') end
return out
