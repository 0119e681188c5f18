-- KEYS: claim, turn. ARGV: token, lease in ms.
local mine = 'L' .. ARGV[1]
if read(KEYS[1]) ~= mine or read(KEYS[2]) ~= mine then return {ARGV[1], 'lost'} end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[2]) end
return {ARGV[1], 'held'}
