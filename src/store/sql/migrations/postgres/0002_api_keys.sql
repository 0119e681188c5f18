-- Who may call the JSON API. Times are Unix seconds; a revoked key stays, as a record of who had what.

CREATE TABLE api_key (
    id         VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
    name       VARCHAR(255)            NOT NULL,
    -- SHA-256 of the whole key in hexadecimal digits; the key itself is nowhere.
    key_hash   VARCHAR(64) COLLATE "C" NOT NULL UNIQUE,
    -- A JSON array of names.
    scopes     TEXT                    NOT NULL,
    per_minute BIGINT                  NOT NULL,
    created_at BIGINT                  NOT NULL,
    created_by VARCHAR(255)            NOT NULL,
    revoked_at BIGINT,
    revoked_by VARCHAR(255)
);
