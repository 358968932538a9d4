-- KEYS: state, latest, history list. ARGV: epoch to begin with, device, offset to start after, frames wanted.
-- Returns {epoch, head, number of frames held, frames}.
local epoch = epoch_of(KEYS[1], ARGV[1])
local latest = redis.call('HGET', KEYS[2], ARGV[2])
local head = latest and string.match(latest, '^(%d+)') or '0'
local held = redis.call('LLEN', KEYS[3])
local wanted = tonumber(ARGV[4])
-- Offsets in a list are contiguous and end with the head, so that an index is arithmetic.
local start = math.max(0, tonumber(ARGV[3]) - (tonumber(head) - held))
local frames = {}
if wanted > 0 and start < held then
  frames = redis.call('LRANGE', KEYS[3], start, start + wanted - 1)
end
return {epoch, head, held, frames}
