#!lua flags=allow-oom
-- An attempt's lease was taken: what its worker still sends is not taken into its log until it has the job again and opens the log
-- anew. KEYS[1]: the log's meta key. ARGV: prefix, attempt, ended 0|1 (no other attempt will come), retention_ms. Answer: 1, or 0
-- when another attempt has the log, or there is none.
local meta, attempt = KEYS[1], ARGV[2]
local REST_MS = 30 * 86400 * 1000
local f = redis.call('HMGET', meta, 'a', 'e')
if f[1] ~= attempt or f[2] == attempt then return 0 end
redis.call('HSET', meta, 'x', attempt)
if ARGV[3] == '1' then
    redis.call('HSET', meta, 'e', attempt)
    expire_log(meta, tonumber(attempt), ARGV[4])
    redis.call('PUBLISH', meta, '')
elseif ARGV[4] ~= '0' then
    -- Another attempt makes it stay; where none comes, nobody else tells the log of the job's end.
    expire_log(meta, tonumber(attempt), int(math.max(tonumber(ARGV[4]), 0) + REST_MS))
end
return 1
