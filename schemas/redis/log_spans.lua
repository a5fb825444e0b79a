#!lua flags=no-writes
-- What is there of each attempt's log. KEYS[1]: the log's meta key. ARGV: prefix, max attempts. Answer: {attempt, first
-- sequence, next sequence, ...}, the latest attempt first; those that have written nothing too.
local meta = KEYS[1]
-- What the attempt has sealed begins with its first chunk.
local function first_of(key)
    local blob = redis.call('TYPE', key).ok == 'string' and redis.call('GETRANGE', key, 0, 19)
    if blob then return select(5, struct.unpack('<BBHI4I8I4', blob)) end
    local chunk = redis.call('EXISTS', key) == 1 and redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    return chunk and tonumber(chunk[2])
end

local last = tonumber(redis.call('HGET', meta, 'a') or 0)
local out = {}
for attempt = last, math.max(last - tonumber(ARGV[2]) + 1, 1), -1 do
    local base = tonumber(redis.call('HGET', meta, 'b' .. attempt) or 0)
    local first = first_of(meta .. ':' .. attempt .. ':c') or base
    out[#out + 1], out[#out + 2], out[#out + 3] = attempt, first, base + redis.call('LLEN', meta .. ':' .. attempt)
end
return out
