-- KEYS: token. ARGV: mark, the longest that can be ours.
local kept = read(KEYS[1])
if not kept or #kept > tonumber(ARGV[2]) then return {ARGV[1]} end
-- One without end was planted: ours always end.
local left = redis.call('PTTL', KEYS[1])
if left <= 0 then return {ARGV[1]} end
return {ARGV[1], kept, tostring(left)}
