-- Takes the lease if nobody holds it, or if it still is the one that the caller has seen and knows to be abandoned.
-- KEYS: lease, epoch, sequence, the note of whoever gave the lease back last, which is taken away, the store's id.
-- ARGV: the abandoned lease or '', the new one without its first brace, milliseconds, the id of a store that has none.
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

-- For how many milliseconds nobody has answered, if the last one stopped cleanly. A note of an earlier one, of an abandoned
-- lease's time or from the future tells nothing.
local silent_for = ''
local note = redis.call('GET', KEYS[4])
if note and not held then
  local readable, last = pcall(cjson.decode, note)
  if readable and type(last) == 'table' and last.clean == true and tonumber(last.stopped_ms)
    and tonumber(last.epoch) == tonumber(redis.call('GET', KEYS[2]) or '') then
    local milliseconds = math.floor(epoch / 1000) - tonumber(last.stopped_ms)
    if milliseconds >= 0 then
      silent_for = string.format('%.0f', milliseconds)
    end
  end
end
for index = 2, 3 do
  local last = tonumber(redis.call('GET', KEYS[index]) or '')
  if last and last >= epoch then
    epoch = last + 1
  end
end
local number = string.format('%.0f', epoch)
local lease = '{"epoch":' .. number .. ',"since":' .. time[1] .. ',' .. ARGV[2]
redis.call('SET', KEYS[2], number)
-- From here on, a server without this number has lost what it had, also before the first commit.
redis.call('SET', KEYS[3], number)
redis.call('SET', KEYS[1], lease, 'PX', ARGV[3])
redis.call('DEL', KEYS[4])
redis.call('SETNX', KEYS[5], ARGV[4])
return {'taken', lease, number, silent_for, redis.call('GET', KEYS[5])}
