#!lua flags=allow-oom
-- Applies cancels and deletes, also with the store full. ARGV: prefix, tombstone_ms, watermark (3..6), then for each:
-- id, 'c' or 'd'. Answer: {-1, stored} on a gap, else {0, 0, (result, latest attempt)...} with result =
-- 1 applied, 4 no-op, 5 tombstone, 6 deleted (the caller removes the logs of all attempts). The attempt is negative where the job has
-- ended by it: no other comes, and the log is to say so.
local stored = advance()
if stored then return { -1, stored } end
local ttl_ms, now = ARGV[2], now_us()
local out = { 0, 0 }
for i = 7, #ARGV, 2 do
    local id, kind = ARGV[i], ARGV[i + 1]
    local flag = kind == 'd' and bit.bor(FLAG_DELETE, FLAG_CANCEL) or FLAG_CANCEL
    local raw = redis.call('GET', K .. 'j:' .. id)
    local result, attempt = 4, 0
    if not raw then
        tombstone(id, flag, 0, 0, ttl_ms)
        result = 5
    else
        local h = decode(raw)
        attempt = h.attempt
        if h.state == 0 then
            if bit.band(h.flags, flag) ~= flag then
                tombstone(id, bit.bor(h.flags, flag), attempt, h.version, ttl_ms)
                result = 5
            end
        elseif terminal(h.state) then
            if kind == 'd' then
                forget(id, h, raw, ttl_ms)
                result = 6
            end
        else
            local flags = bit.bor(h.flags, flag)
            if T.cancel[h.state] or flags ~= h.flags then
                h.flags, result = flags, 1
                raw = cancel(id, h, raw, now)
                if terminal(h.state) and kind == 'd' then
                    forget(id, h, raw, ttl_ms)
                    result = 6
                elseif terminal(h.state) then
                    attempt = -attempt
                end
            else
                redis.call('PUBLISH', K .. 'n', 'c' .. id)
            end
        end
    end
    out[#out + 1] = result
    out[#out + 1] = attempt
end
return out
