-- Rules beside the bank. They share its revision and its history, in which their subject is 'rule'.

CREATE TABLE reply_rule (
    id         VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
    -- JSON, as a line of a file of rules: nothing asks the database for parts of it.
    definition TEXT                    NOT NULL,
    created_at BIGINT                  NOT NULL,
    created_by VARCHAR(255)            NOT NULL,
    updated_at BIGINT                  NOT NULL,
    updated_by VARCHAR(255)            NOT NULL,
    -- The bank's revision that brought the rule to what it is.
    revision   BIGINT                  NOT NULL
);
