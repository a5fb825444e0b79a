#!lua flags=allow-oom
-- Heartbeat. ARGV: prefix, then for each job: id, token, attempt, fence, lease_ms, stage (0: unchanged), patch, worker.
-- Answer, one each: 1 renewed, 2 renewed and to be stopped, 3 lost, 4 deleted, 5 unknown to the store.
local now, out = now_us(), {}
local TRAIN = 4
for i = 2, #ARGV, 8 do
    local id, token, attempt, fence = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
    local lease_ms, stage, patch = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5]), ARGV[i + 6]
    local raw = redis.call('GET', K .. 'j:' .. id)
    local result = 3
    if not raw then
        result = 5
    else
        local h = decode(raw)
        local from, extra, change = h.state, tail(2, patch), patch ~= ''
        if is_restored_owner(h, attempt, fence) then h.token, change = token, true end
        local owner = is_owner(h, token, attempt)
        if h.state == 0 then
            result = has(h.flags, FLAG_DELETE) and 4 or 5
        elseif (owner and T.adopt[h.state] and not given_back(h)) or is_forgotten(h, attempt, fence) then
            -- Nobody else has it and this attempt still runs: it is taken up again.
            if owner then unlose(h) end
            h.state, h.token, h.attempt, h.fence, h.lease_ms = T.adopt_forgotten[from], token, attempt, fence, lease_ms
            if not owner then extra = extra .. tail(3, ARGV[i + 7]) end
            if from ~= CANCELING then h.reason = 0 end
            result, change = from == CANCELING and 2 or 1, true
        elseif owner and runs(h.state) and not given_back(h) then
            result = h.state == CANCELING and 2 or 1
        elseif not (owner and terminal(h.state)) then -- one's own end may overtake a heartbeat
            redis.call('HINCRBY', K .. 'm', 'stale_refused', 1)
        end
        if result <= 2 then
            if stage > 0 and stage ~= h.stage then
                h.stage, change = stage, true
                if stage >= TRAIN and h.started == 0 then h.started = now end
            end
            release(id, h, raw, from)
            if change then put(id, h, raw, from, extra, now) end
            redis.call('ZADD', K .. 'l', int(now + lease_ms * 1000), id)
        end
    end
    out[#out + 1] = result
end
return out
