-- Version 3.

-- Forks: the lineage of runs, and the letters of calls that a fork makes again.

ALTER TABLE run ADD COLUMN forked_from INTEGER REFERENCES run (rid);

ALTER TABLE run ADD COLUMN forked_at INTEGER CHECK ((forked_from IS NULL) = (forked_at IS NULL));

ALTER TABLE run ADD COLUMN forked_last INTEGER CHECK ((forked_from IS NULL) = (forked_last IS NULL));

ALTER TABLE run ADD COLUMN superseded_by INTEGER REFERENCES run (rid);

CREATE TABLE dead_letter_3 (
    lid      INTEGER PRIMARY KEY AUTOINCREMENT,
    run      INTEGER NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq >= 0),
    status   TEXT NOT NULL CHECK (status IN ('parked', 'resolved', 'dropped', 'evicted', 'superseded')),
    created  REAL NOT NULL,
    changed  REAL NOT NULL,
    redriven INTEGER NOT NULL DEFAULT 0 CHECK (redriven >= 0),
    holder   INTEGER REFERENCES holder (hid),
    input    BLOB,
    result   BLOB,
    exported INTEGER CHECK (exported IN (0, 1)),
    crc      INTEGER NOT NULL,
    UNIQUE (run, seq),
    CHECK (result IS NULL OR status = 'resolved')
) STRICT;

INSERT INTO dead_letter_3 SELECT * FROM dead_letter;

-- A number is never given twice, also that of a letter which is gone.
DELETE FROM sqlite_sequence WHERE name = 'dead_letter_3';

INSERT INTO sqlite_sequence (name, seq) SELECT 'dead_letter_3', seq FROM sqlite_sequence WHERE name = 'dead_letter';

DROP TABLE dead_letter;

ALTER TABLE dead_letter_3 RENAME TO dead_letter;

CREATE INDEX letter_evictable ON dead_letter (lid) WHERE status = 'parked' AND seq > 0 AND holder IS NULL;

CREATE INDEX letter_due ON dead_letter (lid) WHERE exported = 0;

-- Races: a call that the workflow gave up is a row ('abandoned'), and so is a note of the timers that fired. Older rows stay
-- as they are.

CREATE TABLE step_3 (
    run      INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    name     TEXT NOT NULL,
    key      BLOB NOT NULL CHECK (length(key) = 16),
    n        INTEGER NOT NULL CHECK (n >= 0),
    status   TEXT NOT NULL CHECK (status = 'done' OR status IN ('failed', 'dead', 'abandoned')),
    input    BLOB NOT NULL,
    output   BLOB NOT NULL,
    started  REAL NOT NULL,
    ms       INTEGER NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    crc      INTEGER NOT NULL,
    kind     TEXT NOT NULL CHECK (kind = 'step' OR kind IN ('builtin', 'defer', 'undo', 'deferred', 'undone', 'timers')),
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

INSERT INTO step_3 SELECT run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind FROM step ORDER BY run, seq;

DROP TABLE step;

ALTER TABLE step_3 RENAME TO step;

-- Whose function it is: what is called again from outside of a run is found by this, never by a name alone. Runs of before
-- have no rows here. `run.script` becomes a path below the folder of the state (store/migration.py).

CREATE TABLE function (
    run      INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    module   TEXT NOT NULL,
    qualname TEXT NOT NULL,
    file     TEXT NOT NULL,
    crc      INTEGER NOT NULL,
    PRIMARY KEY (run, kind, name)
) STRICT, WITHOUT ROWID;
