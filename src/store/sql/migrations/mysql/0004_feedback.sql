-- What followers think of answers: one row for a follower and an answer given to them, the last word counts.
CREATE TABLE IF NOT EXISTS feedback (
    id        VARCHAR(32)  NOT NULL PRIMARY KEY,
    account   VARCHAR(64)  NOT NULL,
    pseudonym VARCHAR(64)  NOT NULL,
    entry_id  VARCHAR(64)  NOT NULL,
    -- The key of the message that was answered; empty: unknown, as after the session's end.
    message   VARCHAR(160) NOT NULL,
    -- Steps of 1/10,000; NULL: the follower chose the entry.
    score     BIGINT,
    useful    BIGINT       NOT NULL,
    comment   MEDIUMTEXT   NOT NULL,
    given_at  BIGINT       NOT NULL,
    INDEX feedback_entry (entry_id, given_at),
    INDEX feedback_follower (account, pseudonym)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
