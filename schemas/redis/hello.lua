#!lua flags=allow-oom
-- A program connects. ARGV: prefix, record format, shard count. The first one writes them down.
-- Answer: {format, shards} as the store has them, and 1 when it is a replica of another (one that takes writes).
local meta = K .. 'm'
redis.call('HSETNX', meta, 'format', ARGV[2])
redis.call('HSETNX', meta, 'shards', ARGV[3])
local is_replica = string.find(redis.call('INFO', 'replication'), 'role:slave', 1, true)
return { tonumber(redis.call('HGET', meta, 'format')), tonumber(redis.call('HGET', meta, 'shards')), is_replica and 1 or 0 }
