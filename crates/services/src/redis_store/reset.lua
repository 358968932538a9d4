-- Begins another stream epoch and clears the partition.
-- KEYS: state, marks, device, latest. ARGV: fence, new epoch, prefix of the history lists.
-- Returns {'fenced', fence} or {'done'}.
local fence = redis.call('HGET', KEYS[1], 'fence')
if fence and lower(ARGV[1], fence) then
  return {'fenced', fence}
end
local devices = redis.call('HKEYS', KEYS[3])
for _, device in ipairs(devices) do
  redis.call('UNLINK', ARGV[3] .. device)
end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
-- The revision goes on, so that a batch of before can't fit by chance.
redis.call('HINCRBY', KEYS[1], 'revision', 1)
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'fence', ARGV[1], 'x', '0', 'y', '0')
return {'done'}
