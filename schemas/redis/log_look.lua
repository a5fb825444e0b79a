#!lua flags=allow-oom
-- The next few logs of which something was told to log_sums: the caller looks what they take now. ARGV: prefix, interval_ms (of the
-- calls of all programs within it one does something), how many. Answer: {id...}.
local meta, now = K .. 'm', now_us()
local last = tonumber(redis.call('HGET', meta, 'logs_looked') or 0)
if now >= last and now - last < tonumber(ARGV[2]) * 1000 then return {} end
redis.call('HSET', meta, 'logs_looked', int(now))
local part = redis.call('HSCAN', K .. 'k', redis.call('HGET', meta, 'logs_at') or '0', 'COUNT', ARGV[3])
redis.call('HSET', meta, 'logs_at', part[1])
local out = {}
for i = 1, #part[2], 2 do out[#out + 1] = part[2][i] end
return out
