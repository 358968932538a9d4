-- KEYS: the index of a user. ARGV: the user, prefix of the keys of logins, channel, reason.
-- Returns how many ended.
local ids = redis.call('ZRANGE', KEYS[1], 0, -1)
local count = 0
-- Lua's stack bounds the arguments of one call.
local ARGUMENTS_MAX = 4000
for first = 1, #ids, ARGUMENTS_MAX do
  local families = {}
  for at = first, math.min(first + ARGUMENTS_MAX - 1, #ids) do
    families[#families + 1] = ARGV[2] .. ids[at]
  end
  count = count + redis.call('DEL', unpack(families))
end
redis.call('DEL', KEYS[1])
publish_end(ARGV[3], ARGV[1], '-', ARGV[4])
return count
