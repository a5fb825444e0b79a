#!lua flags=allow-oom
-- A program connects. ARGV: prefix, record format, shard count, 1: its jobs have events. The first one writes them down.
-- Answer: {format, shards} as the store has them, and 1 when it is a replica of another (one that takes writes).
local meta = K .. 'm'
redis.call('HSETNX', meta, 'format', ARGV[2])
redis.call('HSETNX', meta, 'shards', ARGV[3])
-- Another process than before may be back in time: at a snapshot, or without the last second of its file. Those who know better by the
-- lease clock may come later than one who would claim, so nothing is claimed before the publisher has read the events again.
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local known = redis.call('HMGET', meta, 'server', 'replay', 'read')
if server and server ~= known[1] then
    redis.call('HSET', meta, 'server', server)
    if known[1] and known[2] == 'done' and known[3] then redis.call('HSET', meta, 'replay', 'needed') end
end
-- A store that is new may be one that was lost: nothing is claimed, nor said not to be there, before the events were looked at.
if ARGV[4] == '1' then redis.call('HSETNX', meta, 'replay', 'needed') end
local is_replica = string.find(redis.call('INFO', 'replication'), 'role:slave', 1, true)
return { tonumber(redis.call('HGET', meta, 'format')), tonumber(redis.call('HGET', meta, 'shards')), is_replica and 1 or 0 }
