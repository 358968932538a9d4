-- One step of a challenge. Redis does not roll back: everything is checked before the first write.
--
-- KEYS: the challenge; then, where a login begins, its family and the index of its user.
-- ARGV: 1 version before, 2 '1' where it becomes EXPIRED, 3 record, 4 the time from which on it is gone, 5 event, 6 channel; then, where a
--   login begins, what begin_family takes.
-- Returns {'done'}, {'gone'}, {'taken'} or {'conflict', record, now}.
local now = now_ms()
local record, version, deadline = live(KEYS[1], now)
if not record then
  return {'gone'}
end
if version ~= ARGV[1] or (ARGV[2] == '1') ~= (now >= tonumber(deadline)) then
  return {'conflict', record, now}
end
if KEYS[2] then
  if live(KEYS[2], now) then
    return {'taken'}
  end
  -- A key of a foreign type fails here, not half way through.
  redis.call('ZCARD', KEYS[3])
end
redis.call('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[4])
redis.call('PUBLISH', ARGV[6], ARGV[5])
if KEYS[2] then
  begin_family(KEYS[2], KEYS[3], 7, ARGV[6], now)
end
return {'done'}
