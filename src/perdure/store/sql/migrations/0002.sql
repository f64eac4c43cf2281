-- Version 2: what a step row is about stands in a column of its own. Before, it was given by the row's name, and a step of a
-- user's with such a name was taken for a clean-up. The names suggest the kinds here; store/migration.py looks closer.
--
-- The table is made anew, since the column has no default: a process that still writes as version 1 did is refused.

CREATE TABLE step_2 (
    run      INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    name     TEXT NOT NULL,
    key      BLOB NOT NULL CHECK (length(key) = 16),
    n        INTEGER NOT NULL CHECK (n >= 0),
    status   TEXT NOT NULL CHECK (status = 'done' OR status IN ('failed', 'dead')),
    input    BLOB NOT NULL,
    output   BLOB NOT NULL,
    started  REAL NOT NULL,
    ms       INTEGER NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    crc      INTEGER NOT NULL,
    kind     TEXT NOT NULL CHECK (kind = 'step' OR kind IN ('builtin', 'defer', 'undo', 'deferred', 'undone')),
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

INSERT INTO step_2 (run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind)
SELECT run, seq, name, key, n, status, input, output, started, ms, attempts, crc,
    CASE
        WHEN name IN ('perdure.now', 'perdure.uuid', 'perdure.random', 'perdure.alert') THEN 'builtin'
        WHEN name = 'perdure.defer' THEN 'defer'
        WHEN name = 'perdure.undo' THEN 'undo'
        WHEN substr(name, 1, 6) = 'defer:' THEN 'deferred'
        WHEN substr(name, 1, 5) = 'undo:' THEN 'undone'
        ELSE 'step'
    END
FROM step ORDER BY run, seq;

DROP TABLE step;

ALTER TABLE step_2 RENAME TO step;
