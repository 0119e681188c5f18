-- What is set for categories of the bank, by their path. It shares the bank's revision and its history, in which the
-- subject is 'category'. Categories without settings stand with entries alone.

CREATE TABLE category (
    id         VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
    -- JSON, as a line of a file of categories: nothing asks the database for parts of it.
    definition TEXT                    NOT NULL,
    created_at BIGINT                  NOT NULL,
    created_by VARCHAR(255)            NOT NULL,
    updated_at BIGINT                  NOT NULL,
    updated_by VARCHAR(255)            NOT NULL,
    -- The bank's revision that brought them to what they are.
    revision   BIGINT                  NOT NULL
);
