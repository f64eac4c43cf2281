-- Version 6.

-- What attempts spend. A row is written in the transaction that saves how the attempt ended.

CREATE TABLE spend (
    token   TEXT NOT NULL,
    serial  INTEGER NOT NULL,
    run     INTEGER NOT NULL,
    name    TEXT NOT NULL,
    key     BLOB NOT NULL CHECK (length(key) = 16),
    n       INTEGER NOT NULL,
    usd     INTEGER NOT NULL,
    tokens  INTEGER NOT NULL,
    calls   INTEGER NOT NULL,
    ms      INTEGER NOT NULL,
    ledgers TEXT NOT NULL,
    crc     INTEGER NOT NULL,
    PRIMARY KEY (token, serial)
) STRICT, WITHOUT ROWID;

CREATE INDEX spend_run ON spend (run);

-- What the budgets of a run may spend, raised from outside.

CREATE TABLE budget (
    run    INTEGER PRIMARY KEY,
    usd    INTEGER,
    tokens INTEGER,
    calls  INTEGER,
    ms     INTEGER,
    crc    INTEGER NOT NULL
) STRICT;

-- Which runs use which files of large data.

CREATE TABLE artifact_use (
    run    INTEGER NOT NULL,
    digest TEXT NOT NULL,
    crc    INTEGER NOT NULL,
    PRIMARY KEY (run, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX artifact_used ON artifact_use (digest);
