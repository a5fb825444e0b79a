#!lua
-- A worker takes jobs. ARGV: prefix, token, worker, max, lease_ms, tick (see must_wait), pool... The same token again gives the same jobs.
-- Answer: {id, record, id, record, ...}.
local token, worker, lease_ms = ARGV[2], ARGV[3], tonumber(ARGV[5])
local left, now, out = tonumber(ARGV[4]), now_us(), {}
if must_wait(tonumber(ARGV[6])) then return out end
local lease_end = int(now + lease_ms * 1000)
local replay = K .. 'c:' .. token
local ids = redis.call('GET', replay)
if ids then
    for i = 1, #ids, 16 do
        local id = string.sub(ids, i, i + 15)
        local raw = redis.call('GET', K .. 'j:' .. id)
        if raw then
            local h = decode(raw)
            if h.token == token and not terminal(h.state) and not given_back(h) then
                out[#out + 1] = id
                out[#out + 1] = raw
            end
        end
    end
    return out
end
if is_paused('*') or is_coming_back(now) then return out end

-- How many more jobs an organization may have running, by organization; false: nobody is limited.
local rooms = redis.call('EXISTS', K .. 'g') == 1 and {}
local function room_of(org)
    if not rooms or org == '' then return math.huge end
    if not rooms[org] then
        local cap = cap_of(org)
        if is_paused(org) then
            rooms[org] = 0
        else
            rooms[org] = cap > 0 and math.max(cap - running_of(org), 0) or math.huge
        end
    end
    return rooms[org]
end

-- A program before the rotation has one queue for all organizations of a pool; what it puts there moves on.
local OLDER_LIMIT = 500
local function empty_older_queue(pool)
    local popped, found = redis.call('ZPOPMIN', K .. 'q:' .. pool, OLDER_LIMIT), {}
    for i = 1, #popped, 2 do found[#found + 1] = popped[i] end
    for i, raw in ipairs(fetch(found)) do
        local h = raw and decode(raw)
        if h and h.state == PENDING and not is_disowned(h) then make_ready(found[i], h, raw) end
    end
end

local mine = {}
local function take(ids, orgs)
    for i, raw in ipairs(fetch(ids)) do
        local id, h = ids[i], raw and decode(raw)
        local to = h and T.claim[h.state]
        if to and is_disowned(h) then -- a program of before that brought it back from its event
            end_when_known(id, now)
            to = nil
        end
        if to and is_wait_over(h, raw, now) then
            -- The lease clock's to end, also where the store went back to before it did. A program from before that index, which
            -- brought the job back from its event, did not put it there.
            redis.call('ZADD', K .. 'i', 'NX', int(wait_end_of(h, raw)), id)
        elseif to then
            local from = h.state
            if h.attempt == 0 then wait_no_more(id, h, raw) end
            h.state, h.stage, h.reason, h.token = to, 1, 0, token
            h.attempt = h.attempt + 1
            h.fence = math.max(h.fence + 1, now)
            h.lease_ms = lease_ms
            raw = put(id, h, raw, from, tail(3, worker), now)
            change('ZADD', K .. 'l', lease_end, id)
            mine[#mine + 1] = id
            out[#out + 1] = id
            out[#out + 1] = raw
            left = left - 1
            if rooms and orgs[i] ~= '' then rooms[orgs[i]] = rooms[orgs[i]] - 1 end
        end
    end
end

-- One round: as many organizations as there are jobs to take, each the same number of jobs. Answer: how many had their turn.
local function round(pool)
    local rotation = K .. 'r:' .. pool
    local turn = redis.call('ZRANGEBYSCORE', rotation, '-inf', '(inf', 'LIMIT', 0, left)
    local share = math.floor(left / #turn)
    local ids, orgs, served = {}, {}, {}
    for _, org in ipairs(turn) do
        local n = math.min(share, room_of(org))
        local popped = n > 0 and redis.call('ZPOPMIN', queue_of(pool, org), n)
        if not popped then
            park(pool, org)
        elseif #popped == 0 then
            -- Only now, so that one whose jobs come one by one has no more turns than one that has them in stock.
            redis.call('ZREM', rotation, org)
        else
            for i = 1, #popped, 2 do ids[#ids + 1], orgs[#orgs + 1] = popped[i], org end
            served[#served + 1] = org
        end
    end
    if #served > 0 then
        local last, scores = next_turns(#served) + FRONT, {}
        for i, org in ipairs(served) do
            scores[2 * i - 1], scores[2 * i] = int(last - #served + i), org
        end
        redis.call('ZADD', rotation, unpack(scores))
    end
    take(ids, orgs)
    return #turn
end

-- Rounds without an end would be the store's standstill: what is left is for the next claim.
local TURNS_LIMIT = 1000
local turns = 0
for p = 7, #ARGV do
    empty_older_queue(ARGV[p])
end
gather()
for p = 7, #ARGV do
    while left > 0 and turns < TURNS_LIMIT do
        local had = round(ARGV[p])
        if had == 0 then break end
        turns = turns + had
    end
end
flush()
if left > 0 and turns >= TURNS_LIMIT then redis.call('PUBLISH', K .. 'n', 'r') end
if #mine > 0 then redis.call('SET', replay, table.concat(mine), 'PX', lease_ms) end
return out
