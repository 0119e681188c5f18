-- KEYS: claim, turn, session, recent claims. ARGV: token, session version read, record, its lifetime in ms, 'keep' | 'put' | 'delete',
-- session, its lifetime in ms, what claims of the follower begin with. Asked again by the same turn, it answers the same.
local token, version = ARGV[1], ARGV[2]
local mine = 'L' .. token
local claim = read(KEYS[1])
if claim ~= mine then
  if not is_record(claim) then return {token, 'superseded'} end
  if string.sub(claim, 2, 34) == token then return {token, 'stored'} end
  return {token, 'superseded', string.sub(claim, 35)}
end
redis.call('SET', KEYS[1], 'R' .. token .. ARGV[3], 'PX', ARGV[4])
if ARGV[5] == 'delete' then empty_recent(KEYS[4], ARGV[8], KEYS[1]) end
note_recent(KEYS[4], KEYS[1], ARGV[4])
if read(KEYS[2]) == mine then
  redis.call('DEL', KEYS[2])
  if ARGV[5] ~= 'keep' and session(KEYS[3]) == version then
    if ARGV[5] == 'put' then
      redis.call('SET', KEYS[3], string.format('%.0f', tonumber(version) + 1) .. ':' .. ARGV[6], 'PX', ARGV[7])
    else
      redis.call('UNLINK', KEYS[3])
    end
  end
end
return {token, 'stored'}
