-- Version 7: what was known of a failure when it happened, why a run was left, and which calls were executed more than once.
-- Rows of before have none of it, and keep their checksums. An attempt row `perdure.stopped` said why a run was left; what
-- says so now is in the row of the run (store/migration.py).

ALTER TABLE attempt ADD COLUMN verdict BLOB;

ALTER TABLE run ADD COLUMN stopped BLOB;

ALTER TABLE step ADD COLUMN lives INTEGER CHECK (lives > 1);

ALTER TABLE step ADD COLUMN keyed INTEGER CHECK (keyed IN (0, 1));

CREATE TABLE life (
    run     INTEGER NOT NULL,
    name    TEXT NOT NULL,
    key     BLOB NOT NULL CHECK (length(key) = 16),
    n       INTEGER NOT NULL,
    token   TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    started REAL NOT NULL,
    ended   REAL NOT NULL,
    cause   TEXT NOT NULL,
    crc     INTEGER NOT NULL,
    PRIMARY KEY (run, name, key, n, token)
) STRICT, WITHOUT ROWID;

INSERT INTO life (run, name, key, n, token, attempt, started, ended, cause, crc)
SELECT run, name, key, n, token, attempt, started, died, cause, crc FROM crash WHERE name <> 'perdure.between';
