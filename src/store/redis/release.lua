-- Gives the lease back if it still is the caller's. KEYS: lease. ARGV: the caller's lease.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return {'released'}
