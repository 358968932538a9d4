-- KEYS: the challenge. ARGV: its life in ms, how long it is readable behind that in ms, version, and its JSON in two parts, between which
-- its times stand.
-- Returns {'taken'} or {'done', now}.
local now = now_ms()
if live(KEYS[1], now) then
  return {'taken'}
end
local deadline = string.format('%.0f', now + ARGV[1])
local gone_at = string.format('%.0f', now + ARGV[1] + ARGV[2])
local times = '"createdAtMs":' .. string.format('%.0f', now) .. ',"deadlineMs":' .. deadline
local record = ARGV[3] .. '\t' .. deadline .. '\t' .. gone_at .. '\n' .. ARGV[4] .. times .. ARGV[5]
redis.call('SET', KEYS[1], record, 'PXAT', gone_at)
return {'done', now}
