#!lua flags=no-writes
-- One page of a log through all its attempts. KEYS[1]: the log's meta key. ARGV: prefix, attempt, sequence, max
-- entries, max bytes. Answer: {more 0|1, ended 0|1, next attempt, next sequence, runs, entry...}; runs: {attempt, first
-- sequence, count, ...} of entries that follow each other without a hole.
local meta = KEYS[1]
local attempt, sequence = tonumber(ARGV[2]), tonumber(ARGV[3])
local left, bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local last = tonumber(redis.call('HGET', meta, 'a') or 0)
local ended = redis.call('HEXISTS', meta, 'e')
local runs = {}
local out = { 0, ended, attempt, sequence, runs }
if attempt < 1 then attempt = 1 end
while attempt <= last do
    local list = meta .. ':' .. attempt
    local base = tonumber(redis.call('HGET', meta, 'b' .. attempt) or 0)
    local index = math.max(sequence - base, 0)
    local length = redis.call('LLEN', list)
    local run = #runs
    if index < length and left > 0 and bytes > 0 then
        runs[run + 1], runs[run + 2], runs[run + 3] = attempt, base + index, 0
    end
    while index < length do
        if left <= 0 or bytes <= 0 then
            out[1], out[3], out[4] = 1, attempt, base + index
            return out
        end
        -- A step is small, so that no call reads far over the byte limit.
        local step = redis.call('LRANGE', list, index, index + math.min(left, 32) - 1)
        for _, entry in ipairs(step) do
            if bytes <= 0 then break end
            out[#out + 1] = entry
            left, bytes, index = left - 1, bytes - #entry, index + 1
            runs[run + 3] = runs[run + 3] + 1
        end
    end
    out[3], out[4] = attempt, base + length
    attempt, sequence = attempt + 1, 0
end
return out
