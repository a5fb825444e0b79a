#!lua
-- Applies submits. ARGV: prefix, tombstone_ms, watermark (3..6, see advance), horizon_ms (0: none), then parts, in each of which
-- an id comes once: n, when the oldest of them was created, then n times (job key, record); m, then m times (index key, 2k, k times (score, id)): what the records add to the
-- indexes, to the outbox and to the ready queues when all of them are new.
-- Answer: {-1, stored} on a gap, else {0, 0, results}, a byte for each job: 1 applied, 2 duplicate, 3 conflict,
-- 4 no-op (it was deleted), 7 too old: created longer ago than horizon_ms, and nothing is known of the job.
local stored = advance()
if stored then return { -1, stored } end
local argv, results, queued = ARGV, {}, false
local QUEUE = K .. 'f:'
local horizon_ms = tonumber(ARGV[7])
local oldest = horizon_ms > 0 and now_us() - horizon_ms * 1000 or 0
local back = redis.call('HMGET', K .. 'm', 'back_at', 'back_lease')
local back_at, back_lease = tonumber(back[1] or 0), tonumber(back[2] or 0)

-- Puts a record that was just stored into its index and the outbox, and a job that can run into its queue.
local function enter(id, h, record)
    to_outbox(id, h.created)
    if h.org_len > 0 then
        redis.call('ZADD', K .. 's:' .. h.state .. ':' .. org_of(h, record), int(h.created), id)
    end
    if h.state == PENDING then
        -- A submit that comes late to a store that was brought back: who knows that the job has run has a lease to say so.
        enqueue(id, h, record, h.created < back_at and now_us() + back_lease or nil)
        queued = true
    else
        redis.call('ZADD', K .. 'e', int(h.ended), id)
        if h.org_len > 0 then redis.call('ZADD', K .. 't:' .. org_of(h, record), int(h.ended), id) end
    end
end

-- One job whose id may be known: another submit of it, or a cancel or delete, was here before. Or that may be too old.
local function store(key, record)
    local id, new = string.sub(key, #K + 3), decode(record)
    if new.created < oldest and redis.call('EXISTS', key) == 0 then return '\7' end
    local raw = redis.call('SET', key, record, 'NX', 'GET')
    local old = raw and decode(raw)
    if old and old.state ~= 0 then return old.digest == new.digest and '\2' or '\3' end
    local asked = old and asked_of(old, raw, org_of(new, record)) or 0
    if has(asked, FLAG_DELETE) then return '\4' end
    if old then redis.call('SET', key, record) end
    if asked == 0 or terminal(new.state) then
        -- A submit that was refused has its end already: a cancel changes nothing of it, whichever came first.
        enter(id, new, record)
    else
        -- A cancel was here before its submit: the job is created ended, or held.
        new.flags = bit.bor(new.flags, FLAG_CANCEL)
        cancel(id, new, record, now_us())
    end
    return '\1'
end

local at, last = 8, #argv
while at <= last do
    local count = tonumber(argv[at])
    local jobs, indexes = at + 2, at + 2 + 2 * count
    local fresh = tonumber(argv[at + 1]) >= math.max(oldest, back_at) and redis.call('MSETNX', unpack(argv, jobs, indexes - 1)) == 1
    at = indexes + 1
    for _ = 1, tonumber(argv[indexes]) do
        local key, stop = argv[at], at + 1 + tonumber(argv[at + 1])
        if fresh then
            redis.call('ZADD', key, unpack(argv, at + 2, stop))
            if string.sub(key, 1, #QUEUE) == QUEUE then
                local bar = string.find(key, '|', #QUEUE + 1, true)
                give_turn(string.sub(key, #QUEUE + 1, bar - 1), string.sub(key, bar + 1))
                queued = true
            end
        end
        at = stop + 1
    end
    if fresh then
        results[#results + 1] = string.rep('\1', count)
    else
        for i = jobs, indexes - 1, 2 do results[#results + 1] = store(argv[i], argv[i + 1]) end
    end
end
if queued then redis.call('PUBLISH', K .. 'n', 'r') end
return { 0, 0, table.concat(results) }
