#!lua flags=allow-oom
-- The operator asks for everything to be read again from Kafka, or how that goes, or where the store waits for commands that no intake
-- reads, to let it go on without them; or the publisher finds that the store went back. ARGV: prefix, 'ask', 'look', 'waive' or 'need'.
-- What is in the store stays: events and commands that it has change nothing.
-- Answer: {0 done, 1 needed, 2 asked; 1 when a publisher has the lease; how many records of events the store has passed}.
local meta = K .. 'm'
if ARGV[2] == 'ask' then
    redis.call('DEL', K .. 'w')
    redis.call('HSET', meta, 'replay', 'asked')
end
if ARGV[2] == 'need' then need_replay() end
local WHY, passed = { needed = 1, asked = 2 }, 0
if ARGV[2] == 'waive' and WHY[redis.call('HGET', meta, 'replay')] then redis.call('HSET', meta, 'waived', '1') end
local marks = redis.call('HGETALL', K .. 'w')
for i = 1, #marks, 2 do
    if string.sub(marks[i], 1, 7) == 'events/' then passed = passed + tonumber(marks[i + 1]) end
end
return { WHY[redis.call('HGET', meta, 'replay')] or 0, redis.call('EXISTS', K .. 'p'), passed }
