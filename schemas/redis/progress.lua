#!lua
-- What an attempt tells of its progress, in place of what there was. KEYS[1]: the log's meta key. ARGV: prefix, token, ttl_ms (0: kept),
-- bytes (a serialized JobProgress). Who may write the log may write this. Answer: 1, -1 stale, -3 no such log.
local f = redis.call('HMGET', KEYS[1], 't', 'x')
if not f[1] then return -3 end
if f[1] ~= ARGV[2] or f[2] then return -1 end
if ARGV[3] == '0' then
    redis.call('SET', KEYS[1] .. ':p', ARGV[4])
else
    redis.call('SET', KEYS[1] .. ':p', ARGV[4], 'PX', ARGV[3])
end
return 1
