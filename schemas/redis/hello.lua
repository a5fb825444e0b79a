#!lua flags=allow-oom
-- A program connects. ARGV: prefix, record format, shard count. The first one writes them down.
-- Answer: {format, shards} as the store has them.
local meta = K .. 'm'
redis.call('HSETNX', meta, 'format', ARGV[2])
redis.call('HSETNX', meta, 'shards', ARGV[3])
return { tonumber(redis.call('HGET', meta, 'format')), tonumber(redis.call('HGET', meta, 'shards')) }
