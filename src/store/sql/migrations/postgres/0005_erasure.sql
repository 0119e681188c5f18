-- Followers whose rows are to go. A row stays for a while after the work, so that what arrives late goes too, and every
-- instance hears of it.
CREATE TABLE erasure (
    account   VARCHAR(64) COLLATE "C" NOT NULL,
    pseudonym VARCHAR(64) COLLATE "C" NOT NULL,
    -- Unix seconds.
    asked_at  BIGINT                  NOT NULL,
    PRIMARY KEY (account, pseudonym)
);
