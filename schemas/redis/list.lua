#!lua flags=no-writes
-- One page of an organization's jobs in the order of a time, ties by id the same way. ARGV: prefix, limit, bytes (the page ends with
-- the job that comes to so many), 'new'|'old' (which comes first), least and greatest time (-inf, +inf), time and id of the last job
-- before the page ('' at the start), then the indexes to look at, without the prefix ("s:<state>:<org>", "t:<org>").
-- Answer: {more 0|1, time and id of the last job that was looked at, id, record, ...}.
--
-- Costs O(log n) for each index and the page itself, wherever it begins and however many jobs have the same time.
local limit, bytes, is_new, least, most = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == 'new', ARGV[5], ARGV[6]
local time, after = ARGV[7], ARGV[8]

-- Commands by their names, which deploy/redis/acl reads.
local function range(index, from, to, ...)
    if is_new then return redis.call('ZREVRANGE', index, from, to, ...) end
    return redis.call('ZRANGE', index, from, to, ...)
end

local function rank(index, id)
    if is_new then return redis.call('ZREVRANK', index, id) end
    return redis.call('ZRANK', index, id)
end

local function comes_later(a, b)
    if is_new then return a < b end
    return a > b
end

-- Of ids, byte by byte as a sorted set has them: Lua compares texts by the server's locale.
local function id_comes_later(a, b)
    for i = 1, 16 do
        local x, y = string.byte(a, i), string.byte(b, i)
        if x ~= y then return comes_later(x, y) end
    end
    return false
end

-- How many of an index come before those of this time.
local function before(index, score)
    if is_new then return redis.call('ZCOUNT', index, '(' .. score, '+inf') end
    return redis.call('ZCOUNT', index, '-inf', '(' .. score)
end

-- The rank at which the page begins. Of the jobs of the same time as the last one before it, that one itself is mostly still there.
local function start(index)
    if time == '' then
        local edge = is_new and most or least
        if edge == '+inf' or edge == '-inf' then return 0 end
        return before(index, edge)
    end
    local low, score = before(index, time), redis.call('ZSCORE', index, after)
    if score and tonumber(score) == tonumber(time) then return rank(index, after) + 1 end
    local high = low + redis.call('ZCOUNT', index, time, time)
    while low < high do
        local middle = math.floor((low + high) / 2)
        if id_comes_later(range(index, middle, middle)[1], after) then high = middle else low = middle + 1 end
    end
    return low
end

-- What one index has from there on, at most limit + 1 jobs.
local function take(index)
    local list, at = { at = 1 }, start(index)
    local page = range(index, at, at + limit, 'WITHSCORES')
    for i = 1, #page, 2 do
        local score = tonumber(page[i + 1])
        if is_new and least ~= '-inf' and score < tonumber(least) then break end
        if not is_new and most ~= '+inf' and score > tonumber(most) then break end
        list[#list + 1] = { id = page[i], score = score }
    end
    return list
end

-- A job is in the index of its state only, so that no two lists have the same one.
local lists, ids = {}, {}
for i = 9, #ARGV do lists[#lists + 1] = take(K .. ARGV[i]) end
while #ids <= limit do
    local first
    for _, list in ipairs(lists) do
        local a, b = list[list.at], first and first[first.at]
        if a and (not b or comes_later(b.score, a.score) or (a.score == b.score and id_comes_later(b.id, a.id))) then first = list end
    end
    if not first then break end
    ids[#ids + 1] = first[first.at]
    first.at = first.at + 1
end

local out, count, size = { 0, '', '' }, math.min(#ids, limit), 0
for i = 1, count do
    local raw = redis.call('GET', K .. 'j:' .. ids[i].id)
    if raw then
        out[#out + 1] = ids[i].id
        out[#out + 1] = raw
        size = size + #raw
    end
    out[2], out[3] = int(ids[i].score), ids[i].id
    if #ids > i then out[1] = 1 else out[1] = 0 end
    if size >= bytes then break end
end
return out
