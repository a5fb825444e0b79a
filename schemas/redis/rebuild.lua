#!lua flags=allow-oom
-- The operator asks for everything to be read again from Kafka. ARGV: prefix. What is in the store stays: events and commands
-- that it has change nothing. Answer: 1.
redis.call('DEL', K .. 'w')
redis.call('HSET', K .. 'm', 'replay', 'asked')
return 1
