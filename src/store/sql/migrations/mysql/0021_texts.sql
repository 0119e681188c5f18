-- Templates and dictionaries that were edited here; they win over files. They share the bank's revision and its history,
-- in which their subjects are 'template' and 'dict'.

CREATE TABLE IF NOT EXISTS bank_text (
    subject    VARCHAR(16)  NOT NULL,
    name       VARCHAR(64)  NOT NULL,
    -- As the file would be.
    body       MEDIUMTEXT   NOT NULL,
    updated_at BIGINT       NOT NULL,
    updated_by VARCHAR(255) NOT NULL,
    -- The bank's revision that brought the text to what it is.
    revision   BIGINT       NOT NULL,
    PRIMARY KEY (subject, name)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
