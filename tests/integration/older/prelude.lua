-- Scripts as the version before retries had back-off has them, for core_state_versions_test.c: never changed. This part stands
-- behind the first line of each, as schemas/redis/bundle.py puts it there.
local T = {adopt={[1]=2},cancel={[1]=5,[2]=6},claim={[1]=2},complete={[1]=3,[2]=3,[6]=3},expire={[2]=1,[6]=5},expire_last={[2]=4,[6]=5},fail={[1]=4,[2]=4,[6]=4},give_up={[1]=4,[2]=4,[6]=5},hand_back={[1]=1,[2]=1,[6]=5},retry={[1]=1,[2]=1,[6]=5},stopped={[1]=5,[2]=5,[6]=5}}
-- What all scripts share: the record's layout and its one way to change. ARGV[1] is the key prefix of the shard ("{ty:0}:").
-- Keys are built from it: all of them lie under the shard's hash tag, KEYS[1] stands for them all.
local K = ARGV[1]
local HEAD = '<BBBBBBHI4I4I4I4I4I4I8I8I8I8I8I8c16c16HHI4I8'
local HEAD_BYTES = 128
local PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELED, CANCELING = 1, 2, 3, 4, 5, 6
local FLAG_CANCEL, FLAG_DELETE = 1, 2
local REASON_WORKER_LOST, REASON_CANCELED, REASON_HANDED_BACK = 11, 13, 16
local NO_TOKEN = string.rep('\0', 16)

local function now_us()
    local t = redis.call('TIME')
    return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

-- A number as Redis shall read it. A bare one would be written as a double with 17 digits, which takes twice as long.
local function int(n)
    return string.format('%d', n)
end

local function decode(raw)
    local format, state, stage, reason, flags, priority, max_attempts, attempt, losses, errors, metadata_len, options_len,
        lease_ms, version, created, modified, started, ended, fence, token, digest, org_off, pool_len, org_len,
        ready = struct.unpack(HEAD, raw)
    -- All names in one constructor: the table has its size at once.
    return { format = format, state = state, stage = stage, reason = reason, flags = flags, priority = priority,
        max_attempts = max_attempts, attempt = attempt, losses = losses, errors = errors, metadata_len = metadata_len,
        options_len = options_len, lease_ms = lease_ms, version = version, created = created, modified = modified,
        started = started, ended = ended, fence = fence, token = token, digest = digest, org_off = org_off,
        pool_len = pool_len, org_len = org_len, ready = ready }
end

local function header(h)
    return struct.pack(HEAD, h.format, h.state, h.stage, h.reason, h.flags, h.priority, h.max_attempts, h.attempt,
        h.losses, h.errors, h.metadata_len, h.options_len, h.lease_ms, h.version, h.created, h.modified, h.started,
        h.ended, h.fence, h.token, h.digest, h.org_off, h.pool_len, h.org_len, h.ready)
end

local function has(flags, flag)
    return bit.band(flags, flag) ~= 0
end

local function terminal(state)
    return state == COMPLETED or state == FAILED or state == CANCELED
end

local function org_of(h, raw)
    local start = HEAD_BYTES + h.pool_len + h.org_off
    return string.sub(raw, start + 1, start + h.org_len)
end

local function pool_of(h, raw)
    return string.sub(raw, HEAD_BYTES + 1, HEAD_BYTES + h.pool_len)
end

local function tail(kind, bytes)
    if bytes == '' then return '' end
    return struct.pack('<BH', kind, #bytes) .. bytes
end

local function history(h, now)
    return tail(1, struct.pack('<BBBHI8', h.state, h.stage, h.reason, h.attempt % 65536, now))
end

-- A number's protobuf varint.
local function varint(n)
    local out = ''
    while n >= 128 do
        out = out .. string.char(n % 128 + 128)
        n = math.floor(n / 128)
    end
    return out .. string.char(n)
end

-- TrainingJobMetadata.error_status (field 8) as a tail entry's bytes: {code = 1, message = 2}.
local function error_patch(code, message)
    local status = '\8' .. varint(code) .. '\18' .. varint(#message) .. message
    return '\66' .. varint(#status) .. status
end

-- A script that changes many jobs gathers what it writes, and writes it at the end: one command for each key, not for each
-- job. nil: everything is written at once. Nothing that is gathered for one job may depend on the order.
local later

local function gather()
    later = { records = { n = 0 }, members = { ZADD = {}, ZREM = {} } }
end

local function append(list, a, b)
    local n = list.n
    list[n + 1], list[n + 2], list.n = a, b, b and n + 2 or n + 1
end

-- ZADD or ZREM of a job, now or later.
local function change(command, key, a, b)
    if not later then
        if b then redis.call(command, key, a, b) else redis.call(command, key, a) end
        return
    end
    local list = later.members[command][key]
    if not list then
        list = { n = 0 }
        later.members[command][key] = list
    end
    append(list, a, b)
end

-- Writes what was gathered. unpack() has a limit.
local function flush()
    local STEP = 1000
    local records = later.records
    for i = 1, records.n, STEP do
        redis.call('MSET', unpack(records, i, math.min(i + STEP - 1, records.n)))
    end
    for command, lists in pairs(later.members) do
        for key, list in pairs(lists) do
            for i = 1, list.n, STEP do redis.call(command, key, unpack(list, i, math.min(i + STEP - 1, list.n))) end
        end
    end
    gather()
end

-- The records of many jobs (false: none), in the order of the ids.
local function fetch(ids)
    local out, keys = {}, {}
    for first = 1, #ids, 1000 do
        local n = math.min(1000, #ids - first + 1)
        for i = 1, n do keys[i] = K .. 'j:' .. ids[first + i - 1] end
        local part = redis.call('MGET', unpack(keys, 1, n))
        for i = 1, n do out[first + i - 1] = part[i] end
    end
    return out
end

-- The one way a job changes: header and tail are written, the indexes follow. extra: tail entries to add.
local function put(id, h, raw, from, extra, now)
    h.version = h.version + 1
    h.modified = now
    if terminal(h.state) then h.ended = now end
    raw = header(h) .. string.sub(raw, HEAD_BYTES + 1) .. history(h, now) .. extra
    if later then
        append(later.records, K .. 'j:' .. id, raw)
    else
        redis.call('SET', K .. 'j:' .. id, raw)
    end
    if from ~= h.state and h.org_len > 0 then
        local org = org_of(h, raw)
        change('ZREM', K .. 's:' .. from .. ':' .. org, id)
        change('ZADD', K .. 's:' .. h.state .. ':' .. org, int(h.created), id)
    end
    return raw
end

local function enqueue(id, h, raw)
    redis.call('ZADD', K .. 'q:' .. pool_of(h, raw), int(h.ready), id)
end

local function dequeue(id, h, raw)
    redis.call('ZREM', K .. 'q:' .. pool_of(h, raw), id)
end

-- What is left of a job that is not there: what was asked of it, until its submit comes or ttl_ms passes.
local function tombstone(id, flags, attempt, ttl_ms)
    local h = { format = 1, state = 0, stage = 0, reason = 0, flags = flags, priority = 0, max_attempts = 0,
        attempt = attempt, losses = 0, errors = 0, metadata_len = 0, options_len = 0, lease_ms = 0, version = 0,
        created = 0, modified = 0, started = 0, ended = 0, fence = 0, token = NO_TOKEN, digest = NO_TOKEN,
        org_off = 0, pool_len = 0, org_len = 0, ready = 0 }
    redis.call('SET', K .. 'j:' .. id, header(h), 'PX', ttl_ms)
end

-- Takes a terminal job out of the store.
local function forget(id, h, raw, ttl_ms)
    if h.org_len > 0 then
        redis.call('ZREM', K .. 's:' .. h.state .. ':' .. org_of(h, raw), id)
    end
    redis.call('ZREM', K .. 'u', id)
    tombstone(id, bit.bor(h.flags, FLAG_DELETE), h.attempt, ttl_ms)
end

-- Compare and advance the watermark ARGV[3] = "topic/partition": nil when the commands may be applied, else the
-- offset to go back to. ARGV[4] incarnation, ARGV[5] what the intake believes, ARGV[6] the new mark.
local function advance()
    if ARGV[3] == '' then return nil end
    local stored = tonumber(redis.call('HGET', K .. 'w', ARGV[3]) or 0)
    if redis.call('HGET', K .. 'm', 'incarnation') ~= ARGV[4] or stored < tonumber(ARGV[5]) then
        redis.call('HINCRBY', K .. 'm', 'gaps', 1)
        return stored
    end
    if tonumber(ARGV[6]) > stored then redis.call('HSET', K .. 'w', ARGV[3], ARGV[6]) end
    return nil
end

-- A job in the queue keeps the token of its last attempt. One without a lease time was given back by that attempt, which has
-- no more to say then; the lease of one with a lease time ran out, and the attempt may take it up again.
local function given_back(h)
    return h.state == PENDING and h.lease_ms == 0
end

local function is_owner(h, token, attempt)
    return h.token == token and h.attempt == attempt
end
