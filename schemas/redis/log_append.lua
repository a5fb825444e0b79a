#!lua
-- Appends to an attempt's log: sealed chunks (see core/log_chunk.h), then live entries. KEYS[1]: the log's meta key. ARGV: prefix,
-- attempt, token, end 0|1, retention_ms (0: kept; -1: none of it), limit (bytes of the job's log, 0: none), short (0, or
-- bytes: the log is to have no more than that beside its head), first sequence of the entries, number of chunks, chunk..., entry...
-- A chunk begins where the live entries do, and takes the place of those that it has too. What the log has already is skipped.
-- Over the limit the oldest chunks behind the head (a quarter of the limit, or `short`) go.
-- Answer: {1, next, sealed, bytes in the store}, {-1} stale, {-2, next, sealed} a hole, or a chunk that begins elsewhere, {-3} no
-- such log.
local meta, attempt, limit, short, count = KEYS[1], ARGV[2], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[9])
local list, sealed = meta .. ':' .. attempt, meta .. ':' .. attempt .. ':c'
local CHUNK_HEAD, CHUNK_MAX, DROPS = '<BBHI4I8I4', 131072, 64
local entries = 10 + count -- of ARGV, the first
local chunks, first, last = {}, tonumber(ARGV[8]), nil
for i = 1, count do
    local blob = ARGV[9 + i]
    local version, _, _, n, from, raw = struct.unpack(CHUNK_HEAD, blob)
    if version ~= 1 or n == 0 or raw > CHUNK_MAX or #blob > CHUNK_MAX or (last and from ~= last) then
        return redis.error_reply('ERR log: this is no chunk')
    end
    chunks[i] = { blob = blob, first = from, last = from + n, n = n, raw = raw }
    last = from + n
end
if count > 0 and #ARGV >= entries and first ~= last then return redis.error_reply('ERR log: entries that do not follow the chunks') end
if count > 0 then first = chunks[1].first end
last = #ARGV >= entries and tonumber(ARGV[8]) + #ARGV - entries + 1 or last or first

local f = redis.call('HMGET', meta, 't', 'b' .. attempt, 'x', 'u', 'z', 'y', 'h', 'ha', 'hs', 'a', 'l' .. attempt)
local token, is_sealed = f[1], f[3]
if not token then return { -3, 0, 0 } end
-- What comes too late is counted: the highest number that was seen.
local function refuse()
    local now = tonumber(f[10])
    if f[2] and (tonumber(attempt) < now or (is_sealed and token == ARGV[3])) and last > tonumber(f[11] or 0) then
        redis.call('HSET', meta, 'l' .. attempt, int(last))
    end
    return { -1, 0, 0 }
end
if token ~= ARGV[3] or is_sealed then return refuse() end
local base = tonumber(f[2])
local upto = base + redis.call('LLEN', list)
if first > upto then return { -2, upto, base } end
local live, kept, stored, head = tonumber(f[4] or 0), tonumber(f[5] or 0), tonumber(f[6] or 0), tonumber(f[7] or 0)
local tail, tail_first = tonumber(f[8]), tonumber(f[9]) -- where the tail begins: attempt and sequence; nil: all is head yet
local head_limit = limit > 0 and limit / 4 or math.huge
if short > 0 then
    head_limit = math.min(head_limit, short)
    limit = limit > 0 and math.min(limit, head + short) or head + short
end
local kept_before, stored_before = kept, stored
kept = kept - line_bytes(upto - base, live) -- of the chunks, until the live entries are known

-- An attempt that is sealed by one chunk has it as a string: a set costs a small log more than its lines.
local function store(chunk)
    local kind = redis.call('TYPE', sealed).ok
    if kind == 'none' and ARGV[4] == '1' and #ARGV < entries and chunk.last == last then
        redis.call('SET', sealed, chunk.blob)
        return
    end
    if kind == 'string' then
        local blob = redis.call('GET', sealed)
        local _, _, _, _, from = struct.unpack(CHUNK_HEAD, blob)
        redis.call('DEL', sealed)
        redis.call('ZADD', sealed, int(from), blob)
    end
    redis.call('ZADD', sealed, int(chunk.first), chunk.blob)
end

-- Takes the live entries that a chunk has out of the list; their bytes.
local function replace(n)
    local bytes = live
    if n < upto - base then
        bytes = 0
        for _, entry in ipairs(redis.call('LRANGE', list, 0, n - 1)) do bytes = bytes + #entry end
        redis.call('LTRIM', list, n, -1)
    elseif upto > base then
        redis.call('DEL', list)
    end
    live = live - bytes
    return bytes
end

for _, chunk in ipairs(chunks) do
    if chunk.last > base then
        if chunk.first ~= base then return { -2, upto, base } end
        local replaced = replace(chunk.n)
        store(chunk)
        base, upto = chunk.last, math.max(upto, chunk.last)
        local size = line_bytes(chunk.n, chunk.raw)
        kept, stored = kept + size, stored + #chunk.blob - replaced
        if not tail and head + size <= head_limit then
            head = head + size
        elseif not tail then
            tail, tail_first = tonumber(attempt), chunk.first
        end
    end
end

local at, total, bytes = entries + upto - tonumber(ARGV[8]), #ARGV, 0
while at <= total do
    local stop = math.min(at + 999, total)
    for i = at, stop do bytes = bytes + #ARGV[i] end
    redis.call('RPUSH', list, unpack(ARGV, at, stop))
    upto, at = upto + stop - at + 1, stop + 1
end
live, stored = live + bytes, stored + bytes
kept = kept + line_bytes(upto - base, live)
redis.call('HINCRBY', meta, 'z' .. attempt, int(kept - kept_before))
redis.call('HINCRBY', meta, 'y' .. attempt, int(stored - stored_before))

local function drop(lines, raw, blob_bytes)
    raw = line_bytes(lines, raw)
    redis.call('HINCRBY', meta, 'n' .. tail, int(lines))
    redis.call('HINCRBY', meta, 'm' .. tail, int(raw))
    redis.call('HINCRBY', meta, 'z' .. tail, int(-raw))
    redis.call('HINCRBY', meta, 'y' .. tail, int(-blob_bytes))
    kept, stored = kept - raw, stored - blob_bytes
end

-- The oldest chunk of the tail's first attempt goes. False: it has none.
local function drop_chunk()
    local key = meta .. ':' .. tail .. ':c'
    local is_one = redis.call('TYPE', key).ok == 'string'
    local blob = is_one and redis.call('GET', key) or
        (not is_one and redis.call('ZRANGEBYSCORE', key, int(tail_first), '+inf', 'LIMIT', 0, 1)[1])
    if not blob then return false end
    local _, _, _, n, from, raw = struct.unpack(CHUNK_HEAD, blob)
    if from < tail_first then return false end
    if is_one then redis.call('DEL', key) else redis.call('ZREM', key, blob) end
    drop(n, raw, #blob)
    return true
end

-- The live entries that an earlier attempt has left.
local function drop_rest()
    local left, n = tonumber(redis.call('HGET', meta, 'u' .. tail) or 0), redis.call('LLEN', meta .. ':' .. tail)
    if n == 0 or left == 0 then return end
    redis.call('DEL', meta .. ':' .. tail)
    redis.call('HINCRBY', meta, 'b' .. tail, n)
    redis.call('HDEL', meta, 'u' .. tail)
    drop(n, left, left)
end

local drops = 0
while limit > 0 and tail and kept > limit and drops < DROPS do
    drops = drops + 1
    if not drop_chunk() then
        if tail >= tonumber(attempt) then break end
        drop_rest()
        tail, tail_first = tail + 1, 0
    end
end
redis.call('HSET', meta, 'b' .. attempt, int(base), 'u', int(live), 'z', int(kept), 'y', int(stored), 'h', int(head))
if tail then redis.call('HSET', meta, 'ha', int(tail), 'hs', int(tail_first)) end
if ARGV[4] == '1' then
    redis.call('HSET', meta, 'e', attempt)
    expire_log(meta, tonumber(attempt), ARGV[5])
end
-- For those who follow the log: there is something to read.
redis.call('PUBLISH', meta, '')
return { 1, upto, base, stored }
