#!lua flags=allow-oom
-- Applies cancels and deletes, also with the store full. ARGV: prefix, tombstone_ms, watermark (3..6), then for each:
-- id, 'c' or 'd', organization ('': a job of any). Answer: {-1, stored} on a gap, else {0, 0, (result, latest attempt)...} with result =
-- 1 applied, 4 no-op, 5 tombstone, 6 deleted (the caller removes the logs of all attempts), 8 the job is another organization's, or of
-- a job that is not there too many organizations have asked already: nothing was done. The attempt is negative where the job has
-- ended by it: no other comes, and the log is to say so.
local stored = advance()
if stored then return { -1, stored } end
local ttl_ms, now = ARGV[2], now_us()
local out = { 0, 0 }

local function has_all(flags, wanted)
    return bit.band(flags, wanted) == wanted
end

-- Remembers what was asked of a job that is not there. False: it is known. nil: that is too much to remember.
local function remember(id, h, raw, org, flag)
    local asked, count = asked_by(raw)
    if org == '' then
        if has_all(h.flags, flag) then return false end
        tombstone(id, bit.bor(h.flags, flag), h.attempt, h.version, ttl_ms, asked)
        return true
    end
    if has_all(asked_of(h, raw, org), flag) then return false end
    if not asked[org] and count == ASKED_MAX then return nil end
    asked[org] = bit.bor(asked[org] or 0, flag)
    tombstone(id, h.flags, h.attempt, h.version, ttl_ms, asked)
    return true
end

for i = 7, #ARGV, 3 do
    local id, kind, org = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local flag = kind == 'd' and bit.bor(FLAG_DELETE, FLAG_CANCEL) or FLAG_CANCEL
    local raw = redis.call('GET', K .. 'j:' .. id)
    local result, attempt = 4, 0
    if not raw then
        tombstone(id, org == '' and flag or 0, 0, 0, ttl_ms, org ~= '' and { [org] = flag } or nil)
        result = 5
    else
        local h = decode(raw)
        attempt = h.attempt
        if h.state == 0 then
            local is_new = remember(id, h, raw, org, flag)
            result = is_new and 5 or is_new == nil and 8 or 4
        elseif org ~= '' and org ~= org_of(h, raw) then
            result = 8
        elseif terminal(h.state) then
            if kind == 'd' then
                forget(id, h, raw, ttl_ms)
                result = 6
            end
        else
            local flags = bit.bor(h.flags, flag)
            if (T.cancel[h.state] and not is_disowned(h)) or flags ~= h.flags then
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
