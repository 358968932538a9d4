-- One atomic step of a partition. Redis does not roll back: everything is checked before the first write, but for the types of the
-- history lists: they are written first, and on an error what was appended is taken off again.
--
-- KEYS: state, marks, device, latest, then the history list of each device that has frames.
-- ARGV: 1 fence, 2 revision, 3 and 4 position that the batch starts from, 5 epoch, 6 revision afterwards, 7 and 8 position afterwards,
--   9 frames to keep a device, 10 prefix of the history lists, 11 channel, 12 publication or '', 13 to 16 lengths of the sections that
--   follow: mark and sequence pairs; device and state pairs; device and latest value pairs; device and head pairs of devices whose
--   latest value stays; then for each history list the number of its frames, and these.
-- Returns {'done'}, {'fenced', fence} or {'conflict', revision, x, y}.
local state = redis.call('HMGET', KEYS[1], 'fence', 'revision', 'x', 'y', 'epoch', 'history_max')
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

-- Lua's stack bounds the arguments of one call; an even number keeps pairs together.
local ARGUMENTS_MAX = 4000
local function write(command, key, first, last)
  local result
  for from = first, last, ARGUMENTS_MAX do
    result = redis.pcall(command, key, unpack(ARGV, from, math.min(from + ARGUMENTS_MAX - 1, last)))
    if type(result) == 'table' and result.err then
      return result
    end
  end
  return result
end

-- A list is cut when it has grown an eighth beyond its bound, which is cheaper than each time; readers see what the bound allows.
-- Where the bound changes, all lists are cut to what was seen of them before.
local history_max = tonumber(ARGV[9])
if state[6] and state[6] ~= ARGV[9] then
  local latest = redis.call('HGETALL', KEYS[4])
  for index = 1, #latest, 2 do
    local bound = tonumber(string.match(latest[index + 1], '^%d+\t(%d+)\t'))
    cut(ARGV[10] .. latest[index], bound)
  end
end
local lists = 17 + ARGV[13] + ARGV[14] + ARGV[15] + ARGV[16]
local at = lists
local lengths = {}
for index = 5, #KEYS do
  local count = tonumber(ARGV[at])
  if history_max > 0 and count > 0 then
    local length = write('RPUSH', KEYS[index], at + 1, at + count)
    if type(length) == 'table' then
      local taken = lists
      for earlier = 5, index - 1 do
        redis.call('RPOP', KEYS[earlier], ARGV[taken])
        taken = taken + 1 + tonumber(ARGV[taken])
      end
      return length
    end
    lengths[index] = length
  end
  at = at + 1 + count
end

redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'revision', ARGV[6], 'x', ARGV[7], 'y', ARGV[8], 'history_max', ARGV[9])
at = 17
for section = 13, 15 do
  local last = at + tonumber(ARGV[section]) - 1
  write('HSET', KEYS[section - 11], at, last)
  at = last + 1
end
for pair = at, lists - 1, 2 do
  local held = redis.call('HGET', KEYS[4], ARGV[pair])
  local value = held and string.match(held, '^%d+\t%d+(\t.*)$') or '\t0\t'
  redis.call('HSET', KEYS[4], ARGV[pair], ARGV[pair + 1] .. '\t' .. ARGV[9] .. value)
end
for index = 5, #KEYS do
  if history_max == 0 or lengths[index] > history_max + history_max / 8 then
    cut(KEYS[index], history_max)
  end
end
if ARGV[12] ~= '' then
  redis.call('PUBLISH', ARGV[11], ARGV[12])
end
return {'done'}
