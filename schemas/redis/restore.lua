#!lua flags=allow-oom
-- The store is brought to where the events are. ARGV: prefix, publisher, tombstone_ms, topic, the highest epoch of the
-- events, m, then m times (partition, the mark from which it was read, next offset), then for each event: id, 'J' (a job),
-- 'D' (its deletion) or 'N' (that is forgotten), version, record. Later events of a job come later.
-- Answer: {0} when another publisher has the lease, or the store has a lower mark than that: it is to be read from there; else
-- {1, how many jobs changed, (id, latest attempt) of each job that was removed...}: the caller removes their logs.
--
-- Which one wins when record and event differ: an end that Kafka knows; else an end that the record has; else that no attempt has
-- the job any more; else the later fence; else the higher version, and of two with the same one the event. A cancel or delete that either of them knows counts.
if redis.call('GET', K .. 'p') ~= ARGV[2] then return { 0 } end
local ttl_ms, topic, now, queued = ARGV[3], ARGV[4], now_us(), false
if lacks_events(topic, 7, tonumber(ARGV[6])) then return { 0 } end
local RELINK_US = 86400 * 1000000
local out = { 1, 0 }

-- Takes a job out of everything that names it, but for its record and the outbox.
local function unlist(id, h, raw)
    if h.org_len > 0 then
        local org = org_of(h, raw)
        redis.call('ZREM', K .. 's:' .. h.state .. ':' .. org, id)
        redis.call('ZREM', K .. 't:' .. org, id)
    end
    release(id, h, raw, h.state)
    if runs(h.state) then unpark(org_of(h, raw)) end
    redis.call('ZREM', K .. 'l', id)
    redis.call('ZREM', K .. 'u', id)
    redis.call('ZREM', K .. 'e', id)
end

local function list(id, h, raw)
    if h.org_len > 0 then redis.call('ZADD', K .. 's:' .. h.state .. ':' .. org_of(h, raw), int(h.created), id) end
    if is_disowned(h) then
        end_when_known(id, now)
    elseif h.state == CANCELING and h.lease_ms == 0 then
        hold(id, now)
    elseif h.state == PENDING then
        enqueue(id, h, raw)
        queued = true
    elseif not terminal(h.state) then
        redis.call('ZADD', K .. 'l', int(now + h.lease_ms * 1000), id)
    else
        redis.call('ZADD', K .. 'e', int(h.ended), id)
        if h.org_len > 0 then redis.call('ZADD', K .. 't:' .. org_of(h, raw), int(h.ended), id) end
        if h.state == COMPLETED and now - h.ended < RELINK_US then
            redis.call('ZADD', K .. 'u', int(now), id) -- whether its model has its name is not in the event
        end
    end
end

local function removed(id, h)
    out[#out + 1] = id
    out[#out + 1] = h.attempt
end

local function delete(id, version, old, raw)
    if old and old.state == 0 and has(old.flags, FLAG_DELETE) and old.version >= version then return false end
    if old and old.state ~= 0 then
        unlist(id, old, raw)
        removed(id, old)
    end
    redis.call('ZREM', K .. 'o', id)
    tombstone(id, FLAG_DELETE, old and old.attempt or 0, math.max(version, old and old.version or 0), ttl_ms)
    redis.call('ZADD', K .. 'x', 'NX', int(now + tonumber(ttl_ms) * 1000), id)
    return true
end

-- The id may come again as another job, whose versions begin anew: what is left of the one before must not hide it.
local function forgotten(id)
    local raw = redis.call('GET', K .. 'j:' .. id)
    local old = raw and decode(raw)
    if old and old.state == 0 and has(old.flags, FLAG_DELETE) then
        redis.call('DEL', K .. 'j:' .. id)
        redis.call('ZREM', K .. 'o', id)
        redis.call('ZREM', K .. 'x', id)
    end
    return false -- no job is another than before
end

-- The record becomes what the event says; then what was asked of the job is done to it, as a change of its own.
local function take(id, new, record, old, raw)
    local flags = old and bit.bor(asked_of(old, raw, org_of(new, record)), new.flags) or new.flags
    if old and old.state ~= 0 then
        unlist(id, old, raw)
        if old.attempt == new.attempt and old.fence == new.fence then new.token = old.token end
    end
    local asked = flags ~= new.flags
    new.flags = flags
    raw = header(new) .. string.sub(record, HEAD_BYTES + 1)
    redis.call('SET', K .. 'j:' .. id, raw)
    redis.call('ZREM', K .. 'o', id)
    list(id, new, raw)
    if has(flags, FLAG_CANCEL) and T.cancel[new.state] then
        raw = cancel(id, new, raw, now)
    elseif asked then
        to_outbox(id, now)
    end
    if terminal(new.state) and has(flags, FLAG_DELETE) then
        unlist(id, new, raw)
        forget(id, new, raw, ttl_ms)
        removed(id, new)
    end
end

local function restore(id, record)
    local raw = redis.call('GET', K .. 'j:' .. id)
    local old, new = raw and decode(raw), decode(record)
    if old and old.state == 0 and has(old.flags, FLAG_DELETE) and old.version > new.version then return false end
    if old and old.version == new.version and old.state == new.state and old.modified == new.modified then
        if is_disowned(old) then end_when_known(id, now) end -- a program of before that index may have listed it elsewhere
        return false
    end
    if old and old.state ~= 0 and not terminal(new.state) then
        local is_later = not is_disowned(new) and
            (old.fence > new.fence or (old.fence == new.fence and old.version > new.version))
        if terminal(old.state) or is_later then
            if old.version > new.version then return false end
            old.version = new.version -- behind the event, for whoever reads the feed
            put(id, old, raw, old.state, '', now)
            return true
        end
    end
    take(id, new, record, old, raw)
    return true
end

local marks, at = tonumber(ARGV[6]), 7
local first = at + 3 * marks
for i = first, #ARGV, 4 do
    local id, changed = ARGV[i], false
    if ARGV[i + 1] == 'D' then
        local raw = redis.call('GET', K .. 'j:' .. id)
        changed = delete(id, tonumber(ARGV[i + 2]), raw and decode(raw), raw)
    elseif ARGV[i + 1] == 'N' then
        changed = forgotten(id)
    else
        changed = restore(id, ARGV[i + 3])
    end
    if changed then out[2] = out[2] + 1 end
end
for i = at, first - 1, 3 do
    local name = topic .. '/' .. ARGV[i]
    if tonumber(redis.call('HGET', K .. 'w', name) or -1) < tonumber(ARGV[i + 2]) then
        redis.call('HSET', K .. 'w', name, ARGV[i + 2])
    end
end
-- Until `replayed`, whoever calls that: this publisher may not come to it.
if out[2] > 0 then redis.call('HSET', K .. 'm', 'changed', '1') end
-- What is published next must be above all that readers have seen.
if tonumber(ARGV[5]) > tonumber(redis.call('HGET', K .. 'm', 'epoch') or 0) then redis.call('HSET', K .. 'm', 'epoch', ARGV[5]) end
if queued then redis.call('PUBLISH', K .. 'n', 'r') end
return out
