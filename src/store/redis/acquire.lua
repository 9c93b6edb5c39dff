-- Takes the lease if nobody holds it, or if it still is the one that the caller has seen and knows to be abandoned.
-- KEYS: lease, epoch, sequence. ARGV: the abandoned lease or '', the new one without its first brace, milliseconds.
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= 'string' then
    return {'type', key, kind}
  end
end
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then
  return {'held', held, redis.call('PTTL', KEYS[1])}
end

-- The number grows even when the server lost its data, since its clock goes on; microseconds stay exact in a double.
local time = redis.call('TIME')
local epoch = tonumber(time[1]) * 1000000 + tonumber(time[2])
for index = 2, 3 do
  local last = tonumber(redis.call('GET', KEYS[index]) or '')
  if last and last >= epoch then
    epoch = last + 1
  end
end
local number = string.format('%.0f', epoch)
local lease = '{"epoch":' .. number .. ',"since":' .. time[1] .. ',' .. ARGV[2]
redis.call('SET', KEYS[2], number)
redis.call('SET', KEYS[1], lease, 'PX', ARGV[3])
return {'taken', lease, number}
