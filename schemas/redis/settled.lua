#!lua flags=allow-oom
-- Whether what became of an attempt stands, whatever happens to the store. ARGV: prefix, then for each attempt: id, token,
-- attempt, fence, 'E' (it has ended its job) or 'B' (it has given it back).
-- Answer, one each: 1 it stands: Kafka knows the job's end, or that it was given back; 2 not yet; 3 the store went back, and the
-- attempt is to tell its end again; 4 the end of another attempt stands. A store that never had a publisher has nobody to
-- wait for.
local out, has_publisher = {}, redis.call('HEXISTS', K .. 'm', 'read') == 1
for i = 2, #ARGV, 5 do
    local id, token, attempt, kind = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 4]
    local raw = redis.call('GET', K .. 'j:' .. id)
    local h = raw and decode(raw)
    local stands = not has_publisher or not redis.call('ZSCORE', K .. 'o', id)
    local owner = h and (is_owner(h, token, attempt) or is_restored_owner(h, attempt, tonumber(ARGV[i + 3])))
    local result = 2
    if h and h.state == 0 then
        if has(h.flags, FLAG_DELETE) and stands then result = 1 end
    elseif h and terminal(h.state) then
        if stands then result = owner and 1 or 4 end
    elseif h then
        if owner and given_back(h) then
            if stands then result = 1 end
        elseif owner or (T.adopt_forgotten[h.state] and attempt > h.attempt and not is_disowned(h)) then
            result = 3
        elseif kind == 'B' then
            result = 1 -- the next one has it
        end
    end
    out[#out + 1] = result
end
return out
