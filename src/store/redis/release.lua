-- Gives the lease back if it still is the caller's, and leaves a note of whose it was and since when nobody answers.
-- KEYS: lease, the note. ARGV: the caller's lease, its number, whether everything was written ('1' or '0'), for how many
-- milliseconds nobody was answered already.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  local time = redis.call('TIME')
  local stopped = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - tonumber(ARGV[4])
  redis.call('SET', KEYS[2], string.format('{"epoch":%s,"clean":%s,"stopped_ms":%.0f}', ARGV[2],
    ARGV[3] == '1' and 'true' or 'false', stopped))
  redis.call('DEL', KEYS[1])
end
return {'released'}
