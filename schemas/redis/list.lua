#!lua flags=no-writes
-- One page of an organization's jobs, newest first, ties by id descending. ARGV: prefix, limit, cursor score ("+inf" at the
-- start), cursor id, then the indexes to look at, without the prefix ("s:<state>:<org>"). Answer: {more 0|1, id, record, ...}.
local limit, top, after = tonumber(ARGV[2]), ARGV[3], ARGV[4]

-- What one index has from the cursor on, at most limit + 1 jobs.
local function take(index)
    local list, count, offset = { at = 1 }, 0, 0
    while count <= limit do
        local page = redis.call('ZREVRANGEBYSCORE', index, top, '-inf', 'WITHSCORES', 'LIMIT', offset, limit + 1)
        for i = 1, #page, 2 do
            local id, score = page[i], tonumber(page[i + 1])
            if count <= limit and (after == '' or score < tonumber(top) or id < after) then
                count = count + 1
                list[count] = { id = id, score = score }
            end
        end
        if #page < 2 * (limit + 1) then break end
        offset = offset + limit + 1
    end
    return list
end

-- A job is in the index of its state only, so that no two lists have the same one.
local lists, ids = {}, {}
for i = 5, #ARGV do lists[#lists + 1] = take(K .. ARGV[i]) end
while #ids <= limit do
    local newest
    for _, list in ipairs(lists) do
        local a, b = list[list.at], newest and newest[newest.at]
        if a and (not b or a.score > b.score or (a.score == b.score and a.id > b.id)) then newest = list end
    end
    if not newest then break end
    ids[#ids + 1] = newest[newest.at].id
    newest.at = newest.at + 1
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
