-- What was asked, question by question; goes when it is old.
CREATE TABLE query_log (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    account VARCHAR(64) NOT NULL,
    -- wechat, api.
    channel VARCHAR(16) NOT NULL,
    -- Empty: nobody is known.
    pseudonym VARCHAR(64) NOT NULL,
    question TEXT NOT NULL,
    -- answer, suggest, choice, none, rule, …
    decision VARCHAR(16) NOT NULL,
    entry_id VARCHAR(64),
    -- Steps of 1/10,000.
    score BIGINT,
    took_us BIGINT NOT NULL,
    asked_at BIGINT NOT NULL
);
CREATE INDEX query_log_asked ON query_log (asked_at);
CREATE INDEX query_log_decision ON query_log (decision, asked_at);
CREATE INDEX query_log_follower ON query_log (account, pseudonym);

-- How much was asked on a day (in China, since 1970-01-01) and what became of it; stays.
CREATE TABLE query_day (
    day BIGINT NOT NULL,
    account VARCHAR(64) NOT NULL,
    channel VARCHAR(16) NOT NULL,
    decision VARCHAR(16) NOT NULL,
    queries BIGINT NOT NULL,
    -- Of all together.
    took_us BIGINT NOT NULL,
    PRIMARY KEY (day, account, channel, decision)
);

-- How often an entry answered on a day; stays.
CREATE TABLE entry_day (
    day BIGINT NOT NULL,
    account VARCHAR(64) NOT NULL,
    entry_id VARCHAR(64) NOT NULL,
    answers BIGINT NOT NULL,
    PRIMARY KEY (day, account, entry_id)
);
CREATE INDEX entry_day_entry ON entry_day (entry_id, day);
