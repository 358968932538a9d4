-- KEYS: the family. ARGV: version before, user, expiry, record. A login whose user or expiry would change is in conflict.
-- Returns {'done'}, {'gone'} or {'conflict', record, now}.
local now = now_ms()
local record = live(KEYS[1], now)
if not record then
  return {'gone'}
end
local before = ARGV[1] .. '\t' .. ARGV[2] .. '\t' .. ARGV[3] .. '\n'
if string.sub(record, 1, #before) ~= before then
  return {'conflict', record, now}
end
redis.call('SET', KEYS[1], ARGV[4], 'PXAT', ARGV[3])
return {'done'}
