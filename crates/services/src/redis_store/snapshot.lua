-- KEYS: state, latest. ARGV: epoch to begin with, HSCAN cursor or '', entries wanted, then devices to be read first.
-- Returns {epoch, next cursor ('0': no more), device and latest value pairs}; a device that has gone comes without its pair.
local epoch = epoch_of(KEYS[1], ARGV[1])
local entries = {}
if #ARGV > 3 then
  for index = 4, #ARGV do
    local value = redis.call('HGET', KEYS[2], ARGV[index])
    if value then
      entries[#entries + 1] = ARGV[index]
      entries[#entries + 1] = value
    end
  end
  return {epoch, ARGV[2], entries}
end
local page = redis.call('HSCAN', KEYS[2], ARGV[2], 'COUNT', ARGV[3])
return {epoch, page[1], page[2]}
