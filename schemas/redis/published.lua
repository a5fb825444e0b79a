#!lua flags=allow-oom
-- Kafka has what `outbox` gave out. ARGV: prefix, publisher, stamp, topic, m, then m times (partition, the mark that outbox
-- gave, next offset), n, then n times (id, version and modified as the published record has them: 16 bytes), then the ids
-- whose null record was written.
-- Answer: 1 done; 2 another publisher has the lease: nothing was changed; 3 the store is not the one that was read: nothing
-- was changed.
if redis.call('GET', K .. 'p') ~= ARGV[2] then return 2 end
if redis.call('HGET', K .. 'm', 'read') ~= ARGV[3] then return 3 end
local topic, at = ARGV[4], 6
local marks = tonumber(ARGV[5])
for i = at, at + 3 * (marks - 1), 3 do
    local stored = redis.call('HGET', K .. 'w', topic .. '/' .. ARGV[i]) or '-1'
    if stored ~= ARGV[i + 1] then return 3 end
end
for i = at, at + 3 * (marks - 1), 3 do redis.call('HSET', K .. 'w', topic .. '/' .. ARGV[i], ARGV[i + 2]) end
at = at + 3 * marks
local count, ids, changes = tonumber(ARGV[at]), {}, {}
for i = 1, count do
    ids[i], changes[i] = ARGV[at + 2 * i - 1], ARGV[at + 2 * i]
end
gather()
for i, raw in ipairs(fetch(ids)) do
    -- What changed again since it was read stays in the outbox. By version and time: a version alone can come twice when the
    -- store goes back.
    if not raw or string.sub(raw, 33, 40) .. string.sub(raw, 49, 56) == changes[i] then
        change('ZREM', K .. 'o', ids[i])
        local due = raw and string.byte(raw, 2) == 0 and redis.call('ZSCORE', K .. 'x', ids[i])
        if due then redis.call('PEXPIREAT', K .. 'j:' .. ids[i], int(tonumber(due) / 1000)) end
    end
end
flush()
local now = now_us()
for i = at + 2 * count + 1, #ARGV do
    local id = ARGV[i]
    local due, key = tonumber(redis.call('ZSCORE', K .. 'x', id) or 0), K .. 'j:' .. id
    -- One that is due later is of a deletion that came meanwhile.
    if due > 0 and due <= now then
        redis.call('ZREM', K .. 'x', id)
        -- A tombstone whose event was published by a program that did not make it expire then.
        if redis.call('GETRANGE', key, 1, 1) == '\0' and redis.call('PTTL', key) == -1 and not redis.call('ZSCORE', K .. 'o', id) then
            redis.call('DEL', key)
        end
    end
end
return 1
