#!lua flags=no-writes
-- One page of an organization's jobs, newest first, ties by id descending. ARGV: prefix, index suffix ("o:<org>" or
-- "s:<state>:<org>"), limit, cursor score ("+inf" at the start), cursor id. Answer: {more 0|1, id, record, ...}.
local index, limit = K .. ARGV[2], tonumber(ARGV[3])
local top, after = ARGV[4], ARGV[5]
local ids, offset = {}, 0
while #ids <= limit do
    local page = redis.call('ZREVRANGEBYSCORE', index, top, '-inf', 'WITHSCORES', 'LIMIT', offset, limit + 1)
    for i = 1, #page, 2 do
        if #ids <= limit and (after == '' or tonumber(page[i + 1]) < tonumber(top) or page[i] < after) then
            ids[#ids + 1] = page[i]
        end
    end
    if #page < 2 * (limit + 1) then break end
    offset = offset + limit + 1
end
local out = { #ids > limit and 1 or 0 }
for i = 1, math.min(#ids, limit) do
    local raw = redis.call('GET', K .. 'j:' .. ids[i])
    if raw then
        out[#out + 1] = ids[i]
        out[#out + 1] = raw
    end
end
return out
