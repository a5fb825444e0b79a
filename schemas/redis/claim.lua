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
local mine = {}
gather()
for p = 7, #ARGV do
    if left <= 0 then break end
    local queue = K .. 'q:' .. ARGV[p]
    local popped = redis.call('ZPOPMIN', queue, left)
    local found = {}
    for i = 1, #popped, 2 do found[#found + 1] = popped[i] end
    for i, raw in ipairs(fetch(found)) do
        local id, h = found[i], raw and decode(raw)
        local to = h and T.claim[h.state]
        if to then
            local from = h.state
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
        end
    end
end
flush()
if #mine > 0 then redis.call('SET', replay, table.concat(mine), 'PX', lease_ms) end
return out
