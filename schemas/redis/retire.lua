#!lua flags=allow-oom
-- Takes jobs that ended long ago out of the store, as a delete does. ARGV: prefix, tombstone_ms, age_ms (0: none is taken), limit,
-- interval_ms, tick (see must_wait), keys (0: the store is not looked over).
-- Any number of workers may call: within interval_ms only the first call does something. What Kafka does not know yet, or whose
-- model has no name yet, is passed over, and looked at again after PASSED_US.
-- Answer: {how many were passed over, (id, latest attempt) of each job that was removed...}: the caller removes their logs.
local ttl_ms, age_us, limit = ARGV[2], tonumber(ARGV[3]) * 1000, tonumber(ARGV[4])
local PASSED_US, PASS_US = 3600 * 1000000, 86400 * 1000000
local meta, now, out = K .. 'm', now_us(), { 0 }
local last = tonumber(redis.call('HGET', meta, 'swept') or 0)
if age_us == 0 or must_wait(tonumber(ARGV[6])) or (now >= last and now - last < tonumber(ARGV[5]) * 1000) then return out end
redis.call('HSET', meta, 'swept', int(now))

-- Jobs that a program of before this index has ended are not in it. A pass a day over all keys, a step with each call, finds them.
local function look_over(keys)
    local cursor = redis.call('HGET', meta, 'sweep_at')
    if not cursor and now - tonumber(redis.call('HGET', meta, 'looked_over') or 0) < PASS_US then return end
    local part = redis.call('SCAN', cursor or '0', 'MATCH', K .. 'j:*', 'COUNT', keys)
    for _, key in ipairs(part[2]) do
        local raw = redis.call('GETRANGE', key, 0, HEAD_BYTES - 1)
        local h = #raw == HEAD_BYTES and decode(raw)
        if h and terminal(h.state) then
            local id, org = string.sub(key, #K + 3), HEAD_BYTES + h.pool_len + h.org_off
            redis.call('ZADD', K .. 'e', 'NX', int(h.ended), id)
            if h.org_len > 0 then
                redis.call('ZADD', K .. 't:' .. redis.call('GETRANGE', key, org, org + h.org_len - 1), 'NX', int(h.ended), id)
            end
        end
    end
    if part[1] ~= '0' then
        redis.call('HSET', meta, 'sweep_at', part[1])
    else
        redis.call('HDEL', meta, 'sweep_at')
        redis.call('HSET', meta, 'looked_over', int(now))
    end
end

if ARGV[7] ~= '0' then look_over(ARGV[7]) end
local before = now - age_us
local ids = redis.call('ZRANGEBYSCORE', K .. 'e', '-inf', int(before), 'LIMIT', 0, limit)
for i, raw in ipairs(fetch(ids)) do
    local id, h = ids[i], raw and decode(raw)
    if not h or not terminal(h.state) then
        redis.call('ZREM', K .. 'e', id)
    elseif h.ended > before then
        redis.call('ZADD', K .. 'e', int(h.ended), id) -- a program of before has ended another job under this id
    elseif redis.call('ZSCORE', K .. 'o', id) or redis.call('ZSCORE', K .. 'u', id) then
        redis.call('ZADD', K .. 'e', int(before + PASSED_US), id)
        out[1] = out[1] + 1
    else
        forget(id, h, raw, ttl_ms)
        out[#out + 1] = id
        out[#out + 1] = h.attempt
    end
end
if #out > 1 then redis.call('HINCRBY', meta, 'retired', (#out - 1) / 2) end
return out
