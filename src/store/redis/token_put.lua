-- KEYS: lock, token. ARGV: version, value, lifetime in ms.
local kept = read(KEYS[2])
if kept and string.sub(kept, 1, #ARGV[1]) == ARGV[1] then return {ARGV[1], 'stored'} end
if read(KEYS[1]) ~= 'L' .. ARGV[1] then return {ARGV[1], 'lost'} end
redis.call('SET', KEYS[2], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[1])
return {ARGV[1], 'stored'}
