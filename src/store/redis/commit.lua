-- Applies a batch if the caller holds the lease, and extends the lease. Without writes, it only extends the lease.
-- KEYS: lease, epoch, sequence, active, tombstones, quarantine, the store's id.
-- ARGV: the caller's lease, its epoch, its time to live in milliseconds, the commit's number or '', what the keys of
-- hashes begin with, what the keys of things renamed aside begin with, the record's field, the number of the last commit
-- that the caller knows to be applied, the store's id; then the writes.
local mine, my_epoch = ARGV[1], tonumber(ARGV[2])

-- A key of a wrong type is found before anything is written, so that nothing is written by halves.
local kinds = {'string', 'string', 'string', 'zset', 'zset', 'hash', 'string'}
for index, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= kinds[index] then
    return {'type', key, kind}
  end
end

-- The lease is the caller's as long as nobody has taken a later one. It may be missing, since the server restarted
-- without its data or the caller was late, or be an older one, which the server found in an old snapshot.
local held = redis.call('GET', KEYS[1])
-- The number of the last lease is there for as long as the data is.
local forgotten = not redis.call('GET', KEYS[2])
if held ~= mine then
  if held then
    local readable, lease = pcall(cjson.decode, held)
    local epoch = readable and type(lease) == 'table' and tonumber(lease.epoch)
    if not epoch or epoch > my_epoch then
      return {'held', held}
    end
  end
  local epoch = tonumber(redis.call('GET', KEYS[2]) or '0')
  if not epoch or epoch > my_epoch then
    return {'lost'}
  end
end
-- First of all writes: a server that is full, read-only or cannot save refuses this one, and thereby the whole batch.
redis.call('SET', KEYS[1], mine, 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[2])
-- Containers tell it: a server that has lost it goes on with the one that they have.
redis.call('SETNX', KEYS[7], ARGV[9])

local last = tonumber(redis.call('GET', KEYS[3]) or '0') or 0
-- A server that has forgotten a commit has lost its data, or went back to an older snapshot. Nothing is written before
-- the caller knows.
if forgotten or last < tonumber(ARGV[8]) then
  return {'reverted'}
end

if ARGV[4] ~= '' then
  local number = tonumber(ARGV[4])
  -- The same number again is the same commit, sent twice.
  if last > number then
    return {'late'}
  end
  redis.call('SET', KEYS[3], ARGV[4])
end

local aside = {}
local function write_record(id, record)
  local key = ARGV[5] .. id
  local done = redis.pcall('HSET', key, ARGV[7], record)
  if type(done) == 'table' and done.err then
    if redis.call('TYPE', key).ok == 'hash' then
      error(done.err)
    end
    local name, count = ARGV[6] .. id, 1
    while redis.call('EXISTS', name) == 1 do
      count = count + 1
      name = ARGV[6] .. id .. ':' .. count
    end
    redis.call('RENAME', key, name)
    redis.call('HSET', key, ARGV[7], record)
    aside[#aside + 1] = name
  end
  return key
end

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local buried = false
local index = 10
while index <= #ARGV do
  local verb, subject = ARGV[index], ARGV[index + 1]
  if verb == 'put' then
    local key = write_record(subject, ARGV[index + 2])
    redis.call('PERSIST', key)
    redis.call('ZADD', KEYS[4], ARGV[index + 3], subject)
    redis.call('ZREM', KEYS[5], subject)
    index = index + 4
  elseif verb == 'bury' then
    local key = write_record(subject, ARGV[index + 2])
    redis.call('PEXPIRE', key, ARGV[index + 3])
    redis.call('ZREM', KEYS[4], subject)
    redis.call('ZADD', KEYS[5], string.format('%.6f', now + tonumber(ARGV[index + 3]) / 1000), subject)
    buried = true
    index = index + 4
  elseif verb == 'deactivate' then
    redis.call('ZREM', KEYS[4], subject)
    index = index + 2
  else
    redis.call('HSET', KEYS[6], subject, ARGV[index + 2])
    index = index + 3
  end
end
if buried then
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', string.format('%.6f', now))
end
return {'applied', unpack(aside, 1, 10)}
