-- Version 10: what the page shows and could not know: who executed a run, what a call waited for, which map it was of,
-- whose function it is; and indexes for lists of many runs.

ALTER TABLE step ADD COLUMN batch INTEGER CHECK (batch > 0);

ALTER TABLE step ADD COLUMN asked INTEGER CHECK (asked > 0);

ALTER TABLE step ADD COLUMN waits TEXT;

ALTER TABLE step ADD COLUMN label TEXT;

ALTER TABLE step ADD COLUMN spent TEXT;

CREATE INDEX step_not_done ON step (run, status) WHERE status <> 'done';

CREATE INDEX step_other ON step (run, kind) WHERE kind <> 'step';

ALTER TABLE attempt ADD COLUMN delay REAL CHECK (delay >= 0);

ALTER TABLE attempt ADD COLUMN delayed_by TEXT CHECK (delayed_by IN ('policy', 'server'));

ALTER TABLE dead_letter ADD COLUMN error TEXT;

ALTER TABLE dead_letter ADD COLUMN fingerprint BLOB CHECK (length(fingerprint) = 8);

CREATE INDEX letter_reason ON dead_letter (fingerprint) WHERE status = 'parked';

ALTER TABLE function ADD COLUMN code BLOB REFERENCES code (digest);

ALTER TABLE run ADD COLUMN steps INTEGER CHECK (steps >= 0);

CREATE INDEX run_root ON run (parent) WHERE parent IS NULL AND rid > 0;

CREATE INDEX run_status ON run (status, parent) WHERE rid > 0;

CREATE INDEX run_workflow ON run (workflow, status, parent) WHERE rid > 0;

CREATE TABLE session (
    run     INTEGER NOT NULL,
    number  INTEGER NOT NULL CHECK (number > 0),
    holder  INTEGER NOT NULL REFERENCES holder (hid),
    began   REAL NOT NULL,
    ended   REAL,
    outcome TEXT,
    cause   TEXT,
    version TEXT NOT NULL,
    script  BLOB CHECK (length(script) = 8),
    memory  INTEGER CHECK (memory >= 0),
    crc     INTEGER NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX session_open ON session (holder) WHERE outcome IS NULL;

CREATE TABLE batch (
    run         INTEGER NOT NULL,
    number      INTEGER NOT NULL CHECK (number > 0),
    step        TEXT NOT NULL,
    total       INTEGER CHECK (total >= 0),
    concurrency INTEGER CHECK (concurrency > 0),
    began       REAL NOT NULL,
    ended       REAL,
    crc         INTEGER NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE code (
    digest     BLOB PRIMARY KEY NOT NULL CHECK (length(digest) = 8),
    module     TEXT NOT NULL,
    qualname   TEXT NOT NULL,
    file       TEXT NOT NULL,
    line       INTEGER NOT NULL,
    parameters TEXT NOT NULL,
    options    TEXT NOT NULL,
    source     BLOB CHECK (length(source) = 8),
    crc        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE deed (
    did    INTEGER PRIMARY KEY AUTOINCREMENT,
    at     REAL NOT NULL,
    who    TEXT NOT NULL,
    via    TEXT NOT NULL,
    what   TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL,
    crc    INTEGER NOT NULL
) STRICT;
