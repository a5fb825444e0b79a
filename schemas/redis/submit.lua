#!lua
-- Applies submits. ARGV: prefix, tombstone_ms, watermark (3..6, see advance), then for each: id, record, organization.
-- Answer: {-1, stored} on a gap, else {0, 0, result...} with result = 1 applied, 2 duplicate, 3 conflict, 4 no-op (it was deleted).
local stored = advance()
if stored then return { -1, stored } end
local out, queued = { 0, 0 }, false

-- Puts a record that was just stored into the indexes, and a job that can run into its queue.
local function enter(id, record, org)
    local state = string.byte(record, 2)
    local created, _, _, _, _, _, _, _, pool_len, _, ready = struct.unpack('<I8I8I8I8I8c16c16HHI4I8', record, 41)
    if org ~= '' then
        redis.call('ZADD', K .. 'o:' .. org, created, id)
        redis.call('ZADD', K .. 's:' .. state .. ':' .. org, created, id)
    end
    if state == PENDING then
        redis.call('ZADD', K .. 'q:' .. string.sub(record, HEAD_BYTES + 1, HEAD_BYTES + pool_len), ready, id)
        queued = true
    end
end

for i = 7, #ARGV, 3 do
    local id, record, org = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local key, result = K .. 'j:' .. id, 1
    local old = redis.call('SET', key, record, 'NX', 'GET')
    if old then
        local h, new = decode(old), decode(record)
        if h.state ~= 0 then
            result = h.digest == new.digest and 2 or 3
        elseif has(h.flags, FLAG_DELETE) then
            result = 4
        elseif terminal(new.state) then
            -- A submit that was refused has its end already: a cancel changes nothing of it, whichever came first.
            redis.call('SET', key, record)
            enter(id, record, org)
        else
            -- A cancel was here before its submit: the job is created ended.
            local now = now_us()
            redis.call('SET', key, record)
            if org ~= '' then
                redis.call('ZADD', K .. 'o:' .. org, new.created, id)
                redis.call('ZADD', K .. 's:1:' .. org, new.created, id)
            end
            new.flags = bit.bor(new.flags, FLAG_CANCEL)
            new.state, new.reason = T.cancel[PENDING], REASON_CANCELED
            put(id, new, record, PENDING, '', now)
        end
    else
        enter(id, record, org)
    end
    out[#out + 1] = result
end
if queued then redis.call('PUBLISH', K .. 'n', 'r') end
return out
