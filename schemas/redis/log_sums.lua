#!lua flags=allow-oom
-- What logs take in the store. ARGV: prefix, then for each log: id, organization ('': the one that was told before), bytes (0: it is
-- gone). Answer: {bytes of all logs of the shard, (bytes of the organization's)...}.
local sums, logs, out = K .. 'b', K .. 'k', { 0 }
local function add(name, bytes)
    if redis.call('HINCRBY', sums, name, int(bytes)) <= 0 then redis.call('HDEL', sums, name) end
end
for i = 2, #ARGV, 3 do
    local id, org, bytes = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
    local told, told_org = string.match(redis.call('HGET', logs, id) or '', '^(%d+) (.*)$')
    local before = tonumber(told or 0)
    if org == '' or told then org = told_org or org end
    if bytes ~= before then
        add('o/' .. org, bytes - before)
        add('*', bytes - before)
        if bytes > 0 then redis.call('HSET', logs, id, int(bytes) .. ' ' .. org) else redis.call('HDEL', logs, id) end
    end
    out[#out + 1] = tonumber(redis.call('HGET', sums, 'o/' .. org) or 0)
end
out[1] = tonumber(redis.call('HGET', sums, '*') or 0)
return out
