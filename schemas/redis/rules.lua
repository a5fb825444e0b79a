#!lua flags=allow-oom
-- What operators set for the queues. ARGV: prefix, tombstone_ms, watermark (3..6, see advance), then (name, value or '' to
-- take it back, offset)... Answer: {-1, stored} on a gap, else {0, 0}.
-- What the store has passed before is passed over: an older rule that is read again must not stand for a moment in the place of
-- a later one.
local passed = tonumber(redis.call('HGET', K .. 'w', ARGV[3]) or 0)
local stored = advance()
if stored then return { -1, stored } end
local for_all = false
for i = 7, #ARGV, 3 do
    local name, value = ARGV[i], ARGV[i + 1]
    if ARGV[3] == '' or tonumber(ARGV[i + 2]) >= passed then
        if value == '' then redis.call('HDEL', K .. 'g', name) else redis.call('HSET', K .. 'g', name, value) end
        local org = string.match(name, '^%a+/(.*)$')
        if org == '*' then for_all = true else unpark(org) end
    end
end
-- Whoever may still not begin is parked again when its turn comes.
if for_all then
    for _, org in ipairs(redis.call('HKEYS', K .. 'y')) do unpark(org) end
end
if #ARGV > 7 then redis.call('PUBLISH', K .. 'n', 'r') end
return { 0, 0 }
