-- Version 4: every column of every row is under a checksum. store/migration.py computes them: a row that did not match its
-- checksum before does not match it afterwards. What had none gets a column for it.

CREATE TABLE holder_4 (
    hid     INTEGER PRIMARY KEY AUTOINCREMENT,
    token   TEXT NOT NULL UNIQUE,
    pid     INTEGER NOT NULL,
    host    TEXT NOT NULL,
    started REAL NOT NULL,
    gone    INTEGER NOT NULL DEFAULT 0 CHECK (gone IN (0, 1)),
    crc     INTEGER NOT NULL
) STRICT;

INSERT INTO holder_4 (hid, token, pid, host, started, gone, crc) SELECT hid, token, pid, host, started, gone, 0 FROM holder;

-- A number is never given twice, also that of a process which is gone.
DELETE FROM sqlite_sequence WHERE name = 'holder_4';

INSERT INTO sqlite_sequence (name, seq) SELECT 'holder_4', seq FROM sqlite_sequence WHERE name = 'holder';

DROP TABLE holder;

ALTER TABLE holder_4 RENAME TO holder;

CREATE TABLE lock_4 (
    name   TEXT PRIMARY KEY,
    holder INTEGER REFERENCES holder (hid),
    fence  INTEGER NOT NULL CHECK (fence > 0),
    since  REAL NOT NULL,
    run    INTEGER REFERENCES run (rid),
    crc    INTEGER NOT NULL
) STRICT;

INSERT INTO lock_4 (name, holder, fence, since, run, crc) SELECT name, holder, fence, since, run, 0 FROM lock;

DROP TABLE lock;

ALTER TABLE lock_4 RENAME TO lock;

CREATE TABLE exempt_4 (
    run   INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL CHECK (last >= first),
    crc   INTEGER NOT NULL,
    PRIMARY KEY (run, first, last)
) STRICT, WITHOUT ROWID;

INSERT INTO exempt_4 (run, first, last, crc) SELECT run, first, last, 0 FROM exempt;

DROP TABLE exempt;

ALTER TABLE exempt_4 RENAME TO exempt;

CREATE TABLE crash_4 (
    run     INTEGER NOT NULL,
    name    TEXT NOT NULL,
    key     BLOB NOT NULL CHECK (length(key) = 16),
    n       INTEGER NOT NULL,
    token   TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    started REAL NOT NULL,
    died    REAL NOT NULL,
    cause   TEXT NOT NULL,
    crc     INTEGER NOT NULL,
    PRIMARY KEY (run, name, key, n, token)
) STRICT, WITHOUT ROWID;

INSERT INTO crash_4 (run, name, key, n, token, attempt, started, died, cause, crc)
SELECT run, name, key, n, token, attempt, started, died, cause, 0 FROM crash;

DROP TABLE crash;

ALTER TABLE crash_4 RENAME TO crash;

-- The runs of the same inputs, and the children of a run, without a look at every run.

CREATE INDEX run_key ON run (key);

CREATE INDEX run_child ON run (parent) WHERE parent IS NOT NULL;
