#!lua flags=allow-oom
-- The publisher of events reads what Kafka does not know yet. ARGV: prefix, publisher, lease_ms, limit, max_bytes, topic,
-- partitions. One publisher at a time: the lease is taken or prolonged here.
-- Answer: {0} when another one has the lease, else {1, stamp, epoch, {next offset of each partition of topic, -1: none},
-- {id of each job whose null record is due}, {id, record, id, record, ...}}. A job without a record is left out: its tombstone
-- has expired. The stamp (Redis time in µs) is what `published` must show: it does not come twice, so that a store that went
-- back in between is not told of what it has not seen.
local holder = redis.call('GET', K .. 'p')
if holder and holder ~= ARGV[2] then return { 0 } end
redis.call('SET', K .. 'p', ARGV[2], 'PX', ARGV[3])
local now, limit, left = now_us(), tonumber(ARGV[4]), tonumber(ARGV[5])
local stamp, marks, jobs = int(now), {}, {}
for partition = 0, tonumber(ARGV[7]) - 1 do
    marks[partition + 1] = tonumber(redis.call('HGET', K .. 'w', ARGV[6] .. '/' .. partition) or -1)
end
redis.call('HSET', K .. 'm', 'read', stamp)
local ids = redis.call('ZRANGE', K .. 'o', 0, limit - 1)
for i, raw in ipairs(fetch(ids)) do
    if not raw then
        redis.call('ZREM', K .. 'o', ids[i])
    elseif left > 0 then
        left = left - #raw
        jobs[#jobs + 1] = ids[i]
        jobs[#jobs + 1] = raw
    end
end
local due = redis.call('ZRANGEBYSCORE', K .. 'x', '-inf', stamp, 'LIMIT', 0, limit)
return { 1, stamp, tonumber(redis.call('HGET', K .. 'm', 'epoch') or 0), marks, due, jobs }
