#!lua flags=no-writes
-- What is there of each attempt's log. KEYS[1]: the log's meta key. ARGV: prefix, max attempts. Answer: {attempt, first
-- sequence, next sequence, ...}, the latest attempt first; those that have written nothing too.
local meta = KEYS[1]
local last = tonumber(redis.call('HGET', meta, 'a') or 0)
local out = {}
for attempt = last, math.max(last - tonumber(ARGV[2]) + 1, 1), -1 do
    local base = tonumber(redis.call('HGET', meta, 'b' .. attempt) or 0)
    out[#out + 1], out[#out + 2], out[#out + 3] = attempt, base, base + redis.call('LLEN', meta .. ':' .. attempt)
end
return out
