-- KEYS: the index of a user. ARGV: prefix of the keys of logins, logins at most, then, behind a login that was listed before, its expiry
-- and id.
-- Returns {expiry and id of the last one (expiry '' where there are no more), then the records, the latest to end first}.
local now = now_ms()
local from = 0
if ARGV[3] then
  -- Where that login has ended, those that end when it did may come twice.
  local rank = redis.call('ZREVRANK', KEYS[1], ARGV[4])
  from = rank and rank + 1 or redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[3], '+inf')
end
local wanted = tonumber(ARGV[2])
local entries = redis.call('ZREVRANGE', KEYS[1], from, from + wanted, 'WITHSCORES')
local last = math.min(#entries / 2, wanted)
local answer = {'', ''}
if #entries / 2 > wanted and tonumber(entries[#entries]) > now then
  answer = {entries[2 * wanted], entries[2 * wanted - 1]}
end
for at = 1, last do
  local record = live(ARGV[1] .. entries[2 * at - 1], now)
  if record then
    answer[#answer + 1] = record
  end
end
return answer
