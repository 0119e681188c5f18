-- KEYS: claim, turn. ARGV: token.
local mine = 'L' .. ARGV[1]
for _, key in ipairs(KEYS) do
  if read(key) == mine then redis.call('DEL', key) end
end
return {ARGV[1]}
