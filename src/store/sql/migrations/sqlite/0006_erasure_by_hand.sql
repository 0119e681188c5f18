-- Whether an operator asked: then conversations are forgotten, too. Of who leaves they went at once, and a new one may have
-- begun since.
ALTER TABLE erasure ADD COLUMN by_hand BIGINT NOT NULL DEFAULT 0;
