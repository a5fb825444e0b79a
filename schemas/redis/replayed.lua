#!lua flags=allow-oom
-- The store has everything that the events say: claims and expiry go on. ARGV: prefix, publisher, lease_ms, topic, m, then m times
-- (partition, the mark to which the events were read, the same), then partitions of command topics and where they ended, or '?': that was
-- not looked for. Answer: {1}, or {0} when another publisher has the lease, or the store has a lower mark: all is to be read again, or
-- {2, partition, its watermark, its end, all their watermarks together} when claims have waited and must wait on, since not all of
-- these commands are here yet (rules of the queues, cancels, deletes; submits are not waited for), or {2} since it is not known where
-- they end, or {3}: as 1, and the operator has it go on without them (`rebuild`).
local meta = K .. 'm'
if redis.call('GET', K .. 'p') ~= ARGV[2] or lacks_events(ARGV[4], 6, tonumber(ARGV[5])) then return { 0 } end
local first = 6 + 3 * tonumber(ARGV[5])
local waited = redis.call('HGET', meta, 'replay') ~= 'done'
local missing, passed, submits = nil, 0, {}
if waited and ARGV[first] == '?' then return { 2 } end
for i = first, waited and #ARGV or 0, 2 do
    local mark, stop = tonumber(redis.call('HGET', K .. 'w', ARGV[i]) or 0), tonumber(ARGV[i + 1])
    local is_submit = string.sub(ARGV[i], 1, 7) == 'submit/'
    if not is_submit then passed = passed + mark end
    if mark < stop and is_submit then
        submits[#submits + 1] = ARGV[i] .. ' ' .. ARGV[i + 1]
    elseif mark < stop and not missing then missing = { ARGV[i], mark, stop } end
end
local is_waived = missing and redis.call('HGET', meta, 'waived')
if missing and not is_waived then return { 2, missing[1], missing[2], missing[3], passed } end
redis.call('HDEL', meta, 'waived')
-- Until they are here it is not said of a job that there is none (`held` looks).
if waited then redis.call('HDEL', meta, 'submits') end
if #submits > 0 then redis.call('HSET', meta, 'submits', int(now_us()) .. ' ' .. table.concat(submits, ' ')) end
-- Whether anything ever became of a job here: else there is nothing that a store could have forgotten.
local function has_events()
    local marks = redis.call('HGETALL', K .. 'w')
    for i = 1, #marks, 2 do
        if string.sub(marks[i], 1, 7) == 'events/' and tonumber(marks[i + 1]) > 0 then return true end
    end
end
local now, lease_us = now_us(), tonumber(ARGV[3]) * 1000
if waited and has_events() then redis.call('HSET', meta, 'back_at', int(now), 'back_lease', int(lease_us)) end
if redis.call('HDEL', meta, 'changed') == 1 then
    -- Who runs a job has a lease's time to say so before anything expires.
    redis.call('HINCRBY', meta, 'epoch', 1)
    redis.call('HSET', meta, 'grace_until', int(now + lease_us))
end
redis.call('HSET', meta, 'replay', 'done')
redis.call('PUBLISH', K .. 'n', 'r')
return { is_waived and 3 or 1 }
