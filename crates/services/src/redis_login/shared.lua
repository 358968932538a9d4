-- Prepended to every script.
--
-- A record is a string: version TAB subject TAB the time from which on it is gone, then a line feed and JSON. The subject is the deadline
-- of a challenge, the user of a family. Times are ms since 1970; a Lua number holds them exactly. Versions are compared as texts.

-- This server's clock.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The record, its version and its subject; nothing where it is gone.
local function live(key, now)
  local record = redis.call('GET', key)
  if not record then
    return nil
  end
  local version, subject, gone_at = string.match(record, '^(%d+)\t(-?%d+)\t(-?%d+)\n')
  if not version then
    error('a record without its first line stands at ' .. key)
  end
  if now >= tonumber(gone_at) then
    return nil
  end
  return record, version, subject
end

local function publish_end(channel, user, family, reason)
  redis.call('PUBLISH', channel, 'ended\t' .. user .. '\t' .. family .. '\t' .. reason)
end

-- Writes a login, and makes room for it among those of its user before. The index holds the ids of a user's logins by their expiry; it
-- drops what has expired with each login that begins, and goes with the last one.
-- ARGV from first on: id, record, expiry, user, logins of a user at most, prefix of the keys of logins.
local function begin_family(family, index, first, channel, now)
  local id, record, expires_at, user, families_max, prefix = unpack(ARGV, first, first + 5)
  if tonumber(expires_at) <= now then
    return
  end
  redis.call('ZREMRANGEBYSCORE', index, '-inf', string.format('%.0f', now))
  for _ = 1, redis.call('ZCARD', index) + 1 - families_max do
    local displaced = redis.call('ZPOPMIN', index)[1]
    redis.call('DEL', prefix .. displaced)
    publish_end(channel, user, displaced, 'displaced')
  end
  redis.call('SET', family, record, 'PXAT', expires_at)
  redis.call('ZADD', index, expires_at, id)
  redis.call('PEXPIREAT', index, redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2])
end
