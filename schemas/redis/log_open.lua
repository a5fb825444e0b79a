#!lua
-- Opens the log of an attempt. KEYS[1]: the log's meta key. ARGV: prefix, attempt, fence, token, first sequence, limit (as in
-- log_append).
-- Answer: {1, next, sealed, bytes in the store}, {2, ...} when this token is new to the log, {-1} when a higher fence has it, {-4}
-- when its job was deleted. next is the sequence number that the log wants, sealed the one at which its live entries begin.
local meta, attempt, limit = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[6])
local f = redis.call('HMGET', meta, 'f', 't', 'a', 'u', 'z', 'y', 'h', 'ha', 'x')
local fence = tonumber(f[1] or 0)
local ours = tonumber(ARGV[3])
if f[9] == 'deleted' then return { -4, 0, 0 } end
if ours < fence then return { -1, 0 } end
local base, answer, stored = 'b' .. ARGV[2], 1, tonumber(f[6] or 0)

-- What an attempt has left unsealed stays as it is: in the head while that has room, else in the tail.
local function leave(last)
    local left, head = tonumber(f[4] or 0), tonumber(f[7] or 0)
    if left == 0 then return end
    redis.call('HSET', meta, 'u' .. last, int(left))
    if f[8] then return end
    left = line_bytes(redis.call('LLEN', meta .. ':' .. last), left)
    if limit == 0 or head + left <= limit / 4 then
        redis.call('HSET', meta, 'h', int(head + left))
    else
        redis.call('HSET', meta, 'ha', last, 'hs', redis.call('HGET', meta, 'b' .. last))
    end
end

-- What an earlier token wrote under this number, or a higher one, is of a claim that the store has forgotten: it went back. The
-- numbers of its entries are not ours.
local function undo(last)
    local kept = tonumber(f[5] or 0)
    for a = attempt, last do
        local sizes = redis.call('HMGET', meta, 'z' .. a, 'y' .. a)
        kept, stored = kept - tonumber(sizes[1] or 0), stored - tonumber(sizes[2] or 0)
        redis.call('UNLINK', meta .. ':' .. a, meta .. ':' .. a .. ':c')
        redis.call('HDEL', meta, 'b' .. a, 'z' .. a, 'y' .. a, 'n' .. a, 'm' .. a, 'l' .. a, 'u' .. a)
    end
    redis.call('HSET', meta, 'z', int(kept), 'y', int(stored))
    if f[8] and tonumber(f[8]) >= attempt then redis.call('HSET', meta, 'ha', int(attempt), 'hs', '0') end
end

if f[2] ~= ARGV[4] then
    local last = tonumber(f[3] or 0)
    if last < attempt and last > 0 then leave(last) end
    undo(math.max(last, attempt))
    redis.call('HSET', meta, 'f', ARGV[3], 't', ARGV[4], 'a', ARGV[2], 'u', '0', base, ARGV[5])
    redis.call('HDEL', meta, 'e', 'x')
    -- The end of an earlier attempt has set a time limit to what it wrote: the log stays whole.
    expire_log(meta, attempt, '0')
    answer = 2
elseif f[9] then
    redis.call('HDEL', meta, 'x', 'l' .. ARGV[2])
    expire_log(meta, attempt, '0')
end
local first = tonumber(redis.call('HGET', meta, base))
return { answer, first + redis.call('LLEN', meta .. ':' .. ARGV[2]), first, stored }
