-- KEYS: the family. ARGV: its id, prefix of the keys of indexes, channel, reason.
-- Returns the record that ended, or nil.
local record, _, user = live(KEYS[1], now_ms())
if not record then
  return false
end
redis.call('ZREM', ARGV[2] .. user, ARGV[1])
redis.call('DEL', KEYS[1])
publish_end(ARGV[3], user, ARGV[1], ARGV[4])
return record
