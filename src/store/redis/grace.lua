-- Notes how much of the grace after a restart is used up, if the caller holds the lease.
-- KEYS: lease, the note. ARGV: the caller's lease, milliseconds or '0' for none.
local held = redis.call('GET', KEYS[1])
if held ~= ARGV[1] then
  return {'held', held or ''}
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[2])
else
  redis.call('SET', KEYS[2], ARGV[2])
end
return {'noted'}
