-- Which bank this is: another one once a backup has been put in its place. It is the database's own and in no backup.

CREATE TABLE bank_id (
    id VARCHAR(64) NOT NULL
);
INSERT INTO bank_id (id) VALUES (md5(CAST(random() AS TEXT) || CAST(clock_timestamp() AS TEXT)));
