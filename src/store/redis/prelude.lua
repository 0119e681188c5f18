-- Goes before every script. A claim or turn is 'L' and a token of 33 characters; a record is 'R', the token of whoever
-- made it and the reply; a session is its version, ':' and the value. Anything else was not written by us and counts
-- as absent. Needs Redis 4; writes nothing that depends on the time.
local LONGEST = 65536 + 34

local function read(key)
  local length = redis.pcall('STRLEN', key)
  if type(length) == 'number' then
    if length == 0 then return nil end
    if length <= LONGEST then return redis.call('GET', key) end
  end
  redis.call('UNLINK', key)
  return nil
end

local function is_record(value)
  return value and string.sub(value, 1, 1) == 'R' and #value >= 34
end

-- A lease without end, or one that ends later than any we set, is none: it was planted, or the server's clock was set
-- back.
local function is_held(key, value, lease_ms)
  if not value or #value ~= 34 or string.sub(value, 1, 1) ~= 'L' then return false end
  local left = redis.call('PTTL', key)
  return left >= 0 and left <= 2 * tonumber(lease_ms)
end

-- The claims of a follower's last messages are in a list beside the session. Notes one more.
local MOST_RECENT = 64

local function note_recent(list, claim, lifetime_ms)
  local length = redis.pcall('LPUSH', list, claim)
  if type(length) ~= 'number' then
    redis.call('UNLINK', list)
    redis.call('LPUSH', list, claim)
  end
  redis.call('LTRIM', list, 0, MOST_RECENT - 1)
  redis.call('PEXPIRE', list, lifetime_ms)
end

-- Empties the records of these claims but for one, so that repeats still find a record. Names that do not begin as a
-- claim of the follower does are not ours.
local function empty_recent(list, prefix, but)
  local claims = redis.pcall('LRANGE', list, 0, MOST_RECENT - 1)
  for _, key in ipairs(claims.err and {} or claims) do
    if key ~= but and string.sub(key, 1, #prefix) == prefix then
      local value, left = read(key), redis.call('PTTL', key)
      if is_record(value) and left > 0 then redis.call('SET', key, string.sub(value, 1, 34), 'PX', left) end
    end
  end
  redis.call('UNLINK', list)
end

local function session(key)
  local value = read(key)
  if not value then return '0', '' end
  local colon = string.find(value, ':', 1, true)
  if not colon or colon > 16 or not string.match(value, '^[1-9]%d*:') then return '0', '' end
  return string.sub(value, 1, colon - 1), string.sub(value, colon + 1)
end
