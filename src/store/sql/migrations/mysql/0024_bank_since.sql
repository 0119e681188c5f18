-- The revision at which this bank began to be the one it is: that of the last restore; 0: nothing was put in its place yet.
-- Not for a second time when this file is run again; MySQL has no ADD COLUMN IF NOT EXISTS.
SET @change = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'bank_id' AND column_name = 'since') = 0,
    'ALTER TABLE bank_id ADD COLUMN since BIGINT NOT NULL DEFAULT 0',
    'DO 0'
);
PREPARE change_bank_id FROM @change;
EXECUTE change_bank_id;
DEALLOCATE PREPARE change_bank_id;
