#!lua flags=no-writes
-- One page of a log through all its attempts. KEYS[1]: the log's meta key. ARGV: prefix, attempt, sequence, max entries, max bytes.
-- Whole chunks come, the first of them from its beginning, so the caller skips and cuts; no more of them than it takes for one page.
-- Answer: {more 0|1, ended 0|1, next attempt, next sequence, pieces...}, each piece attempt, first sequence, kind, value:
--   kind > 0: as many entries follow in place of the value;   0: a chunk;   -1: {lines, bytes} that were dropped of the attempt, told
--   before its first piece;   -2: how many lines came late, after the attempt was taken from its worker, told behind its last piece;
--   -3: the end of an attempt of which entries were dropped
local meta = KEYS[1]
local CHUNK_HEAD = '<BBHI4I8I4'
local attempt, sequence = tonumber(ARGV[2]), tonumber(ARGV[3])
local left, bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local f = redis.call('HMGET', meta, 'a', 'e', 'x')
local last, ended, seal = tonumber(f[1] or 0), f[2], f[3]
local out = { 0, ended and 1 or 0, attempt, sequence }
if attempt < 1 then attempt = 1 end

local function is_full()
    return left <= 0 or bytes <= 0
end

local function add(n, kind, value)
    local at = #out
    out[at + 1], out[at + 2], out[at + 3], out[at + 4] = attempt, n, kind, value
end

-- The chunk with the sequence number, else the first behind it.
local function seek(key)
    local blob = redis.call('ZREVRANGEBYSCORE', key, sequence, '-inf', 'LIMIT', 0, 1)[1]
    if blob then
        local _, _, _, n, from = struct.unpack(CHUNK_HEAD, blob)
        if from + n > sequence then return blob end
    end
    return redis.call('ZRANGEBYSCORE', key, '(' .. int(sequence), '+inf', 'LIMIT', 0, 1)[1]
end

-- False: the page is full.
local function add_chunks(key)
    local blob = seek(key)
    while blob do
        local _, _, _, n, from, raw = struct.unpack(CHUNK_HEAD, blob)
        if from + n <= sequence then return true end
        if is_full() then return false end
        add(from, 0, blob)
        local skipped = math.max(sequence - from, 0)
        left, bytes = left - (n - skipped), bytes - math.floor(raw * (n - skipped) / n)
        sequence = from + n
        blob = redis.call('ZRANGEBYSCORE', key, int(sequence), '+inf', 'LIMIT', 0, 1)[1]
    end
    return true
end

local function add_live(key, base)
    local index, length = math.max(sequence - base, 0), redis.call('LLEN', key)
    if index < length and is_full() then return false end
    local head = #out
    if index < length then add(base + index, 0, nil) end
    local count = 0
    while index < length and not is_full() do
        -- A step is small, so that no call reads far over the byte limit.
        local step = redis.call('LRANGE', key, index, index + math.min(left, 32) - 1)
        for _, entry in ipairs(step) do
            if bytes <= 0 then break end
            count = count + 1
            out[head + 3 + count] = entry
            left, bytes, index = left - 1, bytes - #entry, index + 1
        end
    end
    if count > 0 then out[head + 3] = count end
    sequence = math.max(sequence, base + index)
    return index >= length
end

while attempt <= last do
    local info = redis.call('HMGET', meta, 'b' .. attempt, 'n' .. attempt, 'm' .. attempt, 'l' .. attempt)
    local base, list = tonumber(info[1] or 0), meta .. ':' .. attempt
    if info[2] then add(sequence, -1, { tonumber(info[2]), tonumber(info[3] or 0) }) end
    local key = list .. ':c'
    local is_one = redis.call('TYPE', key).ok == 'string'
    local whole
    if sequence >= base then
        whole = true
    elseif is_one then
        whole = not is_full()
        if whole then
            local blob = redis.call('GET', key)
            local _, _, _, n, from, raw = struct.unpack(CHUNK_HEAD, blob)
            add(from, 0, blob)
            left, bytes, sequence = left - n, bytes - raw, from + n
        end
    else
        whole = add_chunks(key)
    end
    if not (whole and add_live(list, base)) then
        out[1], out[3], out[4] = 1, attempt, sequence
        return out
    end
    sequence = math.max(sequence, base)
    out[3], out[4] = attempt, sequence
    if info[2] then add(sequence, -3, 0) end
    if attempt < last or (seal and ended) then
        local late = tonumber(info[4] or 0) - sequence
        if late > 0 or (seal and attempt == last) then
            add(sequence, -2, math.max(late, 0))
            out[3], out[4] = attempt + 1, 0
        end
    end
    attempt, sequence = attempt + 1, 0
end
return out
