-- Followers whose rows are to go. A row stays for a while after the work, so that what arrives late goes too, and every
-- instance hears of it.
CREATE TABLE IF NOT EXISTS erasure (
    account   VARCHAR(64) NOT NULL,
    pseudonym VARCHAR(64) NOT NULL,
    -- Unix seconds.
    asked_at  BIGINT      NOT NULL,
    PRIMARY KEY (account, pseudonym)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
