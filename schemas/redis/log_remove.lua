#!lua flags=allow-oom
-- Removes a log. A tombstone stays for ttl_ms, so that a worker that still writes cannot open it again. KEYS[1]: the log's meta key.
-- ARGV: prefix, attempts (the job's latest), ttl_ms. Answer: the bytes that it had.
local meta = KEYS[1]
local f = redis.call('HMGET', meta, 'a', 'y')
for a = 1, math.max(tonumber(ARGV[2]), tonumber(f[1] or 0)) do
    redis.call('UNLINK', meta .. ':' .. a, meta .. ':' .. a .. ':c')
end
redis.call('UNLINK', meta, meta .. ':p')
redis.call('HSET', meta, 'x', 'deleted')
redis.call('PEXPIRE', meta, ARGV[3])
return tonumber(f[2] or 0)
