#!lua
-- Why a job waits. ARGV: prefix, id. Answer: {} for a job that does not, else {why, position, due, limit, 1 when the position is at
-- least that}: the word for why (see schemas/redis/README.md); how many jobs of its pool start before it if none comes, ends or is
-- canceled meanwhile, and itself; when its back-off is over, µs, or 0; how many jobs its organization may have running, or 0.
local LIMIT = 1000 -- so many organizations are looked at; what more of them have is not in the position
local id = ARGV[2]
local raw = redis.call('GET', K .. 'j:' .. id)
local h = raw and decode(raw)
if not h or h.state ~= PENDING then return {} end
if is_disowned(h) then return { 'ending', 0, 0, 0 } end
local pool, org, due = pool_of(h, raw), org_of(h, raw), 0
if is_wait_over(h, raw, now_us()) then return { 'wait_limit', 0, 0, 0 } end
local rank = redis.call('ZRANK', queue_of(pool, org), id)
if not rank then
    due = tonumber(redis.call('ZSCORE', K .. 'd', id) or 0)
    if due > 0 then return { h.attempt > 0 and 'back_off' or 'store_rebuild', 0, due, 0 } end -- see enqueue
    return { 'queued', 0, 0, 0 }
end

-- Round for round each organization has its turn: one before ours has one job more by then than one behind.
local position, is_before = rank + 1, true
local turns = redis.call('ZRANGEBYSCORE', K .. 'r:' .. pool, '-inf', '(inf', 'LIMIT', 0, LIMIT + 1)
for i = 1, math.min(#turns, LIMIT) do
    local other = turns[i]
    if other == org then
        is_before = false
    else
        position = position + math.min(redis.call('ZCARD', queue_of(pool, other)), is_before and rank + 1 or rank)
    end
end
-- Of those behind it none begins before an organization's first job.
local is_least = #turns > LIMIT and (is_before or rank > 0)
local cap = cap_of(org)
local state = redis.call('HGET', K .. 'm', 'replay')
local why = 'queued'
if state == 'needed' or state == 'asked' then
    why = 'store_rebuild'
elseif is_paused('*') then
    why = 'fleet_paused'
elseif is_paused(org) then
    why = 'organization_paused'
elseif cap > 0 and running_of(org) >= cap then
    why = 'organization_limit'
elseif is_coming_back(now_us()) then
    why = 'store_rebuild'
end
return { why, position, 0, cap, is_least and 1 or 0 }
