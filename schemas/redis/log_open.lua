#!lua
-- Opens the log of an attempt. KEYS[1]: the log's meta key. ARGV: prefix, attempt, fence, token, first sequence.
-- Answer: {1, next sequence}, {2, next sequence} when this token is new to the log, {-1, 0} when a higher fence has it.
local meta = KEYS[1]
local fence = tonumber(redis.call('HGET', meta, 'f') or 0)
local ours = tonumber(ARGV[3])
if ours < fence then return { -1, 0 } end
local base, answer = 'b' .. ARGV[2], 1
if redis.call('HGET', meta, 't') ~= ARGV[4] then
    redis.call('HSET', meta, 'f', ARGV[3], 't', ARGV[4], 'a', ARGV[2])
    redis.call('HDEL', meta, 'e')
    redis.call('PERSIST', meta)
    -- The end of an earlier attempt has set a time limit to what it wrote: the log stays whole.
    for a = 1, tonumber(ARGV[2]) do redis.call('PERSIST', meta .. ':' .. a) end
    -- What an earlier token wrote under this number is of a claim that the store has forgotten: it went back. The numbers
    -- of its entries are not ours.
    redis.call('DEL', meta .. ':' .. ARGV[2])
    redis.call('HSET', meta, base, ARGV[5])
    answer = 2
end
local first = tonumber(redis.call('HGET', meta, base))
return { answer, first + redis.call('LLEN', meta .. ':' .. ARGV[2]) }
