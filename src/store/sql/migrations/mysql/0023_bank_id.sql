-- Which bank this is: another one once a backup has been put in its place. It is the database's own and in no backup.

CREATE TABLE IF NOT EXISTS bank_id (
    id VARCHAR(64) NOT NULL
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO bank_id (id) SELECT REPLACE(UUID(), '-', '') FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM bank_id);
