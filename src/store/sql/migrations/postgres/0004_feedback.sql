-- What followers think of answers: one row for a follower and an answer given to them, the last word counts.
CREATE TABLE feedback (
    id        VARCHAR(32) COLLATE "C"  NOT NULL PRIMARY KEY,
    account   VARCHAR(64) COLLATE "C"  NOT NULL,
    pseudonym VARCHAR(64) COLLATE "C"  NOT NULL,
    entry_id  VARCHAR(64) COLLATE "C"  NOT NULL,
    -- The key of the message that was answered; empty: unknown, as after the session's end.
    message   VARCHAR(160) COLLATE "C" NOT NULL,
    -- Steps of 1/10,000; NULL: the follower chose the entry.
    score     BIGINT,
    useful    BIGINT                   NOT NULL,
    comment   TEXT                     NOT NULL,
    given_at  BIGINT                   NOT NULL
);
CREATE INDEX feedback_entry ON feedback (entry_id, given_at);
CREATE INDEX feedback_follower ON feedback (account, pseudonym);
