-- KEYS: state, marks, device. ARGV: fence, epoch to begin with.
-- Returns {'fenced', fence} or {'state', epoch, revision, x, y, marks, devices}, the last two as HGETALL does.
local epoch = epoch_of(KEYS[1], ARGV[2])
local state = redis.call('HMGET', KEYS[1], 'fence', 'revision', 'x', 'y')
if lower(ARGV[1], state[1]) then
  return {'fenced', state[1]}
end
local marks = redis.call('HGETALL', KEYS[2])
local devices = redis.call('HGETALL', KEYS[3])
if ARGV[1] ~= state[1] then
  redis.call('HSET', KEYS[1], 'fence', ARGV[1])
end
return {'state', epoch, state[2], state[3], state[4], marks, devices}
