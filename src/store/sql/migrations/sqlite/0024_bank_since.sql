-- The revision at which this bank began to be the one it is: that of the last restore; 0: nothing was put in its place yet.
ALTER TABLE bank_id ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
