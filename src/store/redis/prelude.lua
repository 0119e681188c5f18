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

local function session(key)
  local value = read(key)
  if not value then return '0', '' end
  local colon = string.find(value, ':', 1, true)
  if not colon or colon > 16 or not string.match(value, '^[1-9]%d*:') then return '0', '' end
  return string.sub(value, 1, colon - 1), string.sub(value, colon + 1)
end
