-- KEYS: token. ARGV: mark, version.
local kept = read(KEYS[1])
if not kept or #ARGV[2] == 0 or string.sub(kept, 1, #ARGV[2]) ~= ARGV[2] then return {ARGV[1], 'kept'} end
redis.call('DEL', KEYS[1])
return {ARGV[1], 'expired'}
