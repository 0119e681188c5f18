-- Unix seconds at which the follower's rows were erased first; 0: not yet. Not for a second time when this file is run
-- again; MySQL has no ADD COLUMN IF NOT EXISTS.
SET @change = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'erasure' AND column_name = 'worked_at') = 0,
    'ALTER TABLE erasure ADD COLUMN worked_at BIGINT NOT NULL DEFAULT 0',
    'DO 0'
);
PREPARE change_erasure FROM @change;
EXECUTE change_erasure;
DEALLOCATE PREPARE change_erasure;
