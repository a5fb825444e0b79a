#!lua
-- Appends entries. KEYS[1]: the log's meta key. ARGV: prefix, attempt, token, first sequence, end 0|1, retention_ms
-- (0: kept), entry... Answer: {1, next}, {-1, 0} stale, {-2, next} a hole, {-3, 0} no such log.
local meta, attempt = KEYS[1], ARGV[2]
local token = redis.call('HGET', meta, 't')
if not token then return { -3, 0 } end
if token ~= ARGV[3] then return { -1, 0 } end
local list = meta .. ':' .. attempt
local next_sequence = tonumber(redis.call('HGET', meta, 'b' .. attempt)) + redis.call('LLEN', list)
local skip = next_sequence - tonumber(ARGV[4])
if skip < 0 then return { -2, next_sequence } end
local at, total = 7 + skip, #ARGV
while at <= total do
    local stop = math.min(at + 999, total)
    redis.call('RPUSH', list, unpack(ARGV, at, stop))
    next_sequence = next_sequence + stop - at + 1
    at = stop + 1
end
if ARGV[5] == '1' then
    redis.call('HSET', meta, 'e', attempt)
    if ARGV[6] ~= '0' then
        redis.call('PEXPIRE', meta, ARGV[6])
        for a = 1, tonumber(attempt) do redis.call('PEXPIRE', meta .. ':' .. a, ARGV[6]) end
    end
end
-- For those who follow the log: there is something to read.
redis.call('PUBLISH', meta, '')
return { 1, next_sequence }
