-- KEYS: the family, the index of its user. ARGV: channel, then what begin_family takes.
-- Returns {'taken'} or {'done'}.
local now = now_ms()
if live(KEYS[1], now) then
  return {'taken'}
end
begin_family(KEYS[1], KEYS[2], 2, ARGV[1], now)
return {'done'}
