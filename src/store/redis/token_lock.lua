-- KEYS: lock. ARGV: version, lease in ms.
local mine = 'L' .. ARGV[1]
local value = read(KEYS[1])
if value ~= mine and is_held(KEYS[1], value, ARGV[2]) then return {ARGV[1], 'held'} end
redis.call('SET', KEYS[1], mine, 'PX', ARGV[2])
return {ARGV[1], 'locked'}
