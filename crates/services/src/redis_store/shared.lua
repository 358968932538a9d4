-- Prepended to every script. Numbers are decimal strings without sign or leading zeros: a Lua number holds 53 bits only.

-- Whether the number one is lower than the number other.
local function lower(one, other)
  return #one < #other or (#one == #other and one < other)
end

-- The partition's stream epoch; candidate becomes it where there is none.
local function epoch_of(state, candidate)
  local epoch = redis.call('HGET', state, 'epoch')
  if not epoch then
    redis.call('HSET', state, 'epoch', candidate, 'fence', '0', 'revision', '0', 'x', '0', 'y', '0')
    epoch = candidate
  end
  return epoch
end

-- Leaves the last count entries of a list.
local function cut(list, count)
  if count == 0 then
    redis.call('DEL', list)
  else
    redis.call('LTRIM', list, -count, -1)
  end
end
