#!lua flags=allow-oom
-- An intake takes up a partition. ARGV: prefix, Kafka cluster id, "topic/partition", a fresh incarnation to use if there is none.
-- Answer: {stored offset, incarnation, 1 when the Kafka cluster is another one than the store knew}.
local meta = K .. 'm'
local changed = 0
local cluster = redis.call('HGET', meta, 'cluster')
if cluster ~= ARGV[2] then
    if cluster then
        changed = 1
        redis.call('DEL', K .. 'w')
    end
    redis.call('HSET', meta, 'cluster', ARGV[2])
end
redis.call('HSETNX', meta, 'incarnation', ARGV[4])
-- A store that is new may be one that was lost: nothing is claimed before the events were looked at.
redis.call('HSETNX', meta, 'replay', 'needed')
return { tonumber(redis.call('HGET', K .. 'w', ARGV[3]) or 0), redis.call('HGET', meta, 'incarnation'), changed }
