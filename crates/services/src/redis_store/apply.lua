-- One atomic step of a partition. Redis does not roll back: everything is checked before the first write.
--
-- KEYS: state, marks, device, latest, then the history list of each device that has frames.
-- ARGV: 1 fence, 2 revision, 3 and 4 position that the batch starts from, 5 epoch, 6 revision afterwards, 7 and 8 position afterwards,
--   9 frames to keep a device, 10 channel, 11 publication or '', 12 to 15 lengths of the sections that follow:
--   mark and sequence pairs; device and state pairs; device and latest value pairs; device and head pairs of devices whose latest
--   value stays; then for each history list the number of its frames, and these.
-- Returns {'done'}, {'fenced', fence} or {'conflict', revision, x, y}.
local state = redis.call('HMGET', KEYS[1], 'fence', 'revision', 'x', 'y', 'epoch')
if not state[5] then
  return {'conflict', '0', '0', '0'}
end
if lower(ARGV[1], state[1]) then
  return {'fenced', state[1]}
end
if ARGV[2] ~= state[2] or ARGV[3] ~= state[3] or ARGV[4] ~= state[4] or ARGV[5] ~= state[5] then
  return {'conflict', state[2], state[3], state[4]}
end

-- A key of a foreign type fails here, not half way through.
for index = 2, 4 do
  redis.call('HLEN', KEYS[index])
end
local lengths = {}
for index = 5, #KEYS do
  lengths[index] = redis.call('LLEN', KEYS[index])
end

-- Lua's stack bounds the arguments of one call; an even number keeps pairs together.
local ARGUMENTS_MAX = 4000
local function write(command, key, first, last)
  for from = first, last, ARGUMENTS_MAX do
    redis.call(command, key, unpack(ARGV, from, math.min(from + ARGUMENTS_MAX - 1, last)))
  end
end

redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'revision', ARGV[6], 'x', ARGV[7], 'y', ARGV[8])
local at = 16
for section = 12, 14 do
  local last = at + tonumber(ARGV[section]) - 1
  write('HSET', KEYS[section - 10], at, last)
  at = last + 1
end
for pair = at, at + tonumber(ARGV[15]) - 1, 2 do
  local held = redis.call('HGET', KEYS[4], ARGV[pair])
  local value = held and string.match(held, '^%d+(\t.*)$') or '\t0\t'
  redis.call('HSET', KEYS[4], ARGV[pair], ARGV[pair + 1] .. value)
end
at = at + tonumber(ARGV[15])

local history_max = tonumber(ARGV[9])
for index = 5, #KEYS do
  local count = tonumber(ARGV[at])
  if history_max == 0 then
    redis.call('DEL', KEYS[index])
  else
    write('RPUSH', KEYS[index], at + 1, at + count)
    if lengths[index] + count > history_max then
      redis.call('LTRIM', KEYS[index], -history_max, -1)
    end
  end
  at = at + 1 + count
end
if ARGV[11] ~= '' then
  redis.call('PUBLISH', ARGV[10], ARGV[11])
end
return {'done'}
