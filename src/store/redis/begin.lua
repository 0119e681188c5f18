-- KEYS: claim, turn, session. ARGV: token, lease in ms. Asked again with the same token, it answers the same.
local token, lease_ms = ARGV[1], ARGV[2]
local mine = 'L' .. token
local claim = read(KEYS[1])
if is_record(claim) then return {token, 'done', string.sub(claim, 35)} end
if claim ~= mine and is_held(KEYS[1], claim, lease_ms) then return {token, 'busy'} end
local turn = read(KEYS[2])
if turn ~= mine and is_held(KEYS[2], turn, lease_ms) then return {token, 'occupied'} end
redis.call('SET', KEYS[1], mine, 'PX', lease_ms)
redis.call('SET', KEYS[2], mine, 'PX', lease_ms)
local version, value = session(KEYS[3])
return {token, 'claimed', version, value}
