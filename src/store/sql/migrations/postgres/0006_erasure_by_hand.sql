-- 1: an operator asked, and the follower's conversation is to be forgotten, too.
ALTER TABLE erasure ADD COLUMN by_hand BIGINT NOT NULL DEFAULT 0;
