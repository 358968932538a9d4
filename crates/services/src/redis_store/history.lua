-- KEYS: state, latest, history list. ARGV: epoch to begin with, device, offset to start after, frames wanted.
-- Returns {epoch, head, number of frames held, frames}.
local epoch = epoch_of(KEYS[1], ARGV[1])
local latest = redis.call('HGET', KEYS[2], ARGV[2])
local head, bound = string.match(latest or '0\t0', '^(%d+)\t(%d+)')
local length = redis.call('LLEN', KEYS[3])
-- The list may be a little longer than its bound.
local held = math.min(length, tonumber(bound))
local wanted = tonumber(ARGV[4])
-- Offsets in a list are contiguous and end with the head, so that an index is arithmetic.
local start = math.max(length - held, tonumber(ARGV[3]) - (tonumber(head) - length))
local frames = {}
if wanted > 0 and start < length then
  frames = redis.call('LRANGE', KEYS[3], start, start + wanted - 1)
end
return {epoch, head, held, frames}
