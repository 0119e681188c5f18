-- KEYS: session, recent claims. ARGV: mark, what claims of the follower begin with.
redis.call('UNLINK', KEYS[1])
empty_recent(KEYS[2], ARGV[2], nil)
return {ARGV[1]}
