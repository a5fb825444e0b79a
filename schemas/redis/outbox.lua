#!lua flags=allow-oom
-- The publisher of events reads what Kafka does not know yet. ARGV: prefix, publisher, lease_ms, limit, max_bytes, topic,
-- partitions. One publisher at a time: the lease is taken or prolonged here.
-- Answer: {0} when another one has the lease, else {1, stamp, epoch, {next offset of each partition of topic, -1: none},
-- {id of each job whose null record is due}, {id, record, id, record, ...}, 0 or why the events are to be read first}: 1 the store
-- went back or is new, 2 the operator asked. A job without a record is left out: its tombstone
-- has expired. The stamp (Redis time in µs) is what `published` must show: it does not come twice, so that a store that went
-- back in between is not told of what it has not seen. lease_ms 0 gives the lease up.
local holder, lease_ms = redis.call('GET', K .. 'p'), tonumber(ARGV[3])
if holder and holder ~= ARGV[2] then return { 0 } end
if lease_ms == 0 then
    if holder then redis.call('DEL', K .. 'p') end
    return { 0 }
end
if not holder then
    redis.call('SET', K .. 'p', ARGV[2], 'PX', lease_ms)
    redis.call('HSETNX', K .. 'm', 'read', '0') -- this store has a publisher
elseif redis.call('PTTL', K .. 'p') < lease_ms * 0.7 then
    redis.call('PEXPIRE', K .. 'p', lease_ms)
end
local now, limit, left = now_us(), tonumber(ARGV[4]), tonumber(ARGV[5])
local stamp, marks, jobs = int(now), {}, {}
for partition = 0, tonumber(ARGV[7]) - 1 do
    marks[partition + 1] = tonumber(redis.call('HGET', K .. 'w', ARGV[6] .. '/' .. partition) or -1)
end
local due = {}
local past = redis.call('ZRANGEBYSCORE', K .. 'x', '-inf', stamp, 'LIMIT', 0, limit)
for i, raw in ipairs(fetch(past)) do
    local is_gone = not raw or string.byte(raw, 2) == 0
    -- The event of a deletion comes before its null record, however long it had to wait.
    if not (raw and is_gone and redis.call('ZSCORE', K .. 'o', past[i])) then due[#due + 1] = past[i] end
    -- The same id may have been submitted anew by now: the null record ends what was before, and an event follows it.
    if not is_gone then to_outbox(past[i], now) end
end
-- In steps, so that not more is fetched than is given by far.
local STEP = 50
local ids = limit > 0 and redis.call('ZRANGE', K .. 'o', 0, limit - 1) or {}
for first = 1, #ids, STEP do
    if left <= 0 then break end
    local some = { unpack(ids, first, math.min(first + STEP - 1, #ids)) }
    for i, raw in ipairs(fetch(some)) do
        if not raw then
            redis.call('ZREM', K .. 'o', some[i])
        elseif left > 0 then -- a large one is given too, alone
            left = left - #raw
            jobs[#jobs + 1] = some[i]
            jobs[#jobs + 1] = raw
        end
    end
end
if #jobs + #due > 0 then redis.call('HSET', K .. 'm', 'read', stamp) end
local WHY = { needed = 1, asked = 2 }
local replay = WHY[redis.call('HGET', K .. 'm', 'replay')] or 0
return { 1, stamp, tonumber(redis.call('HGET', K .. 'm', 'epoch') or 0), marks, due, jobs, replay }
