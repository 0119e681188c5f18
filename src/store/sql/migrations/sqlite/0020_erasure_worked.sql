-- Unix seconds at which the follower's rows were erased first; 0: not yet.
ALTER TABLE erasure ADD COLUMN worked_at BIGINT NOT NULL DEFAULT 0;
