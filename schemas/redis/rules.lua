#!lua flags=allow-oom
-- What operators set for the queues. ARGV: prefix, tombstone_ms, watermark (3..6, see advance), then (name, value or '' to
-- take it back)... Answer: {-1, stored} on a gap, else {0, 0}.
local stored = advance()
if stored then return { -1, stored } end
local for_all = false
for i = 7, #ARGV, 2 do
    local name, value = ARGV[i], ARGV[i + 1]
    if value == '' then redis.call('HDEL', K .. 'g', name) else redis.call('HSET', K .. 'g', name, value) end
    local org = string.match(name, '^%a+/(.*)$')
    if org == '*' then for_all = true else unpark(org) end
end
-- Whoever may still not begin is parked again when its turn comes.
if for_all then
    for _, org in ipairs(redis.call('HKEYS', K .. 'y')) do unpark(org) end
end
if #ARGV > 7 then redis.call('PUBLISH', K .. 'n', 'r') end
return { 0, 0 }
