-- What is set for categories of the bank, by their path. It shares the bank's revision and its history, in which the
-- subject is 'category'. Categories without settings stand with entries alone.

CREATE TABLE IF NOT EXISTS category (
    id         VARCHAR(64)  NOT NULL PRIMARY KEY,
    -- JSON, as a line of a file of categories: nothing asks the database for parts of it.
    definition MEDIUMTEXT   NOT NULL,
    created_at BIGINT       NOT NULL,
    created_by VARCHAR(255) NOT NULL,
    updated_at BIGINT       NOT NULL,
    updated_by VARCHAR(255) NOT NULL,
    -- The bank's revision that brought them to what they are.
    revision   BIGINT       NOT NULL
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
