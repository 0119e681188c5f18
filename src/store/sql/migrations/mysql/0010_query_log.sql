-- What was asked, question by question; goes when it is old.
CREATE TABLE IF NOT EXISTS query_log (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    account VARCHAR(64) NOT NULL,
    -- wechat, api.
    channel VARCHAR(16) NOT NULL,
    -- Empty: nobody is known.
    pseudonym VARCHAR(64) NOT NULL,
    question MEDIUMTEXT NOT NULL,
    -- answer, suggest, choice, none, rule, …
    decision VARCHAR(16) NOT NULL,
    entry_id VARCHAR(64),
    -- Steps of 1/10,000.
    score BIGINT,
    took_us BIGINT NOT NULL,
    asked_at BIGINT NOT NULL,
    INDEX query_log_asked (asked_at),
    INDEX query_log_decision (decision, asked_at),
    INDEX query_log_follower (account, pseudonym)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How much was asked on a day (in China, since 1970-01-01) and what became of it; stays.
CREATE TABLE IF NOT EXISTS query_day (
    day BIGINT NOT NULL,
    account VARCHAR(64) NOT NULL,
    channel VARCHAR(16) NOT NULL,
    decision VARCHAR(16) NOT NULL,
    queries BIGINT NOT NULL,
    -- Of all together.
    took_us BIGINT NOT NULL,
    PRIMARY KEY (day, account, channel, decision)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How often an entry answered on a day; stays.
CREATE TABLE IF NOT EXISTS entry_day (
    day BIGINT NOT NULL,
    account VARCHAR(64) NOT NULL,
    entry_id VARCHAR(64) NOT NULL,
    answers BIGINT NOT NULL,
    PRIMARY KEY (day, account, entry_id),
    INDEX entry_day_entry (entry_id, day)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
