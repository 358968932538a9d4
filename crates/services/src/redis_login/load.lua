-- KEYS: the record. Returns {now, record or nil}.
local now = now_ms()
return {now, (live(KEYS[1], now)) or false}
