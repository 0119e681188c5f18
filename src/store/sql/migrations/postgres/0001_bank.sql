-- The question bank, its history and its revision. Times are Unix seconds, lists are JSON arrays as text.

CREATE TABLE entry (
    id                VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
    question          TEXT                    NOT NULL,
    similar_questions TEXT                    NOT NULL,
    kind              VARCHAR(16) COLLATE "C" NOT NULL,
    answer            TEXT                    NOT NULL,
    category          VARCHAR(255)            NOT NULL,
    tags              TEXT                    NOT NULL,
    state             VARCHAR(16) COLLATE "C" NOT NULL,
    accounts          TEXT                    NOT NULL,
    channels          TEXT                    NOT NULL,
    valid_from        BIGINT,
    valid_until       BIGINT,
    priority          BIGINT                  NOT NULL,
    created_at        BIGINT                  NOT NULL,
    created_by        VARCHAR(255)            NOT NULL,
    updated_at        BIGINT                  NOT NULL,
    updated_by        VARCHAR(255)            NOT NULL,
    -- The bank's revision that brought the entry to what it is.
    revision          BIGINT                  NOT NULL
);
CREATE INDEX entry_revision ON entry (revision);

-- What every revision changed: also the audit log. Values are JSON as in JSONL files; NULL before creation, after removal.
CREATE TABLE history (
    revision     BIGINT                  NOT NULL,
    subject      VARCHAR(16) COLLATE "C" NOT NULL,
    subject_id   VARCHAR(64) COLLATE "C" NOT NULL,
    operation    VARCHAR(16) COLLATE "C" NOT NULL,
    value_before TEXT,
    value_after  TEXT,
    changed_at   BIGINT                  NOT NULL,
    changed_by   VARCHAR(255)            NOT NULL,
    source       VARCHAR(255)            NOT NULL,
    PRIMARY KEY (revision, subject, subject_id)
);
CREATE INDEX history_subject ON history (subject, subject_id, revision);

-- One row, updated first in every change: it is the lock that makes changes follow one another.
CREATE TABLE bank_revision (
    revision BIGINT NOT NULL
);
INSERT INTO bank_revision (revision) VALUES (0);
