#!lua flags=allow-oom
-- The store has everything that the events say: claims and expiry go on. ARGV: prefix, publisher, lease_ms, where the topic
-- settings ended (0: does not matter). Answer: 1, or 0 when another publisher has the lease, or 2 when claims have waited and
-- must wait on, since the rules of the queues are not all here yet.
local meta = K .. 'm'
if redis.call('GET', K .. 'p') ~= ARGV[2] then return 0 end
if redis.call('HGET', meta, 'replay') ~= 'done' and
    tonumber(redis.call('HGET', K .. 'w', 'settings/0') or 0) < tonumber(ARGV[4]) then
    return 2
end
if redis.call('HDEL', meta, 'changed') == 1 then
    -- Who runs a job has a lease's time to say so before anything expires.
    redis.call('HINCRBY', meta, 'epoch', 1)
    redis.call('HSET', meta, 'grace_until', int(now_us() + tonumber(ARGV[3]) * 1000))
end
redis.call('HSET', meta, 'replay', 'done')
redis.call('PUBLISH', K .. 'n', 'r')
return 1
