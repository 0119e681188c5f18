-- The question bank, its history and its revision. Times are Unix seconds, lists are JSON arrays as text.

CREATE TABLE IF NOT EXISTS entry (
    id                VARCHAR(64)  NOT NULL PRIMARY KEY,
    question          MEDIUMTEXT   NOT NULL,
    similar_questions MEDIUMTEXT   NOT NULL,
    kind              VARCHAR(16)  NOT NULL,
    answer            MEDIUMTEXT   NOT NULL,
    category          VARCHAR(255) NOT NULL,
    tags              MEDIUMTEXT   NOT NULL,
    state             VARCHAR(16)  NOT NULL,
    accounts          MEDIUMTEXT   NOT NULL,
    channels          MEDIUMTEXT   NOT NULL,
    valid_from        BIGINT,
    valid_until       BIGINT,
    priority          BIGINT       NOT NULL,
    created_at        BIGINT       NOT NULL,
    created_by        VARCHAR(255) NOT NULL,
    updated_at        BIGINT       NOT NULL,
    updated_by        VARCHAR(255) NOT NULL,
    -- The bank's revision that brought the entry to what it is.
    revision          BIGINT       NOT NULL,
    INDEX entry_revision (revision)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What every revision changed: also the audit log. Values are JSON as in JSONL files; NULL before creation, after removal.
CREATE TABLE IF NOT EXISTS history (
    revision     BIGINT       NOT NULL,
    subject      VARCHAR(16)  NOT NULL,
    subject_id   VARCHAR(64)  NOT NULL,
    operation    VARCHAR(16)  NOT NULL,
    value_before MEDIUMTEXT,
    value_after  MEDIUMTEXT,
    changed_at   BIGINT       NOT NULL,
    changed_by   VARCHAR(255) NOT NULL,
    source       VARCHAR(255) NOT NULL,
    PRIMARY KEY (revision, subject, subject_id),
    INDEX history_subject (subject, subject_id, revision)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row, updated first in every change: it is the lock that makes changes follow one another.
CREATE TABLE IF NOT EXISTS bank_revision (
    revision BIGINT NOT NULL
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO bank_revision (revision) SELECT 0 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM bank_revision);
