-- Version 9: runs that wait in a queue, or for a time or a signal, without a process; signals, schedules, and what runs publish. The
-- table of runs is made anew, since two kinds of status are added to its check. Rows of before keep their checksums.

CREATE TABLE run_9 (
    rid      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    script   TEXT NOT NULL,
    path     TEXT NOT NULL,
    workflow TEXT NOT NULL,
    key      BLOB NOT NULL CHECK (length(key) = 16),
    named    INTEGER NOT NULL CHECK (named IN (0, 1)),
    parent   INTEGER REFERENCES run_9 (rid),
    status   TEXT NOT NULL CHECK (status IN ('running', 'failed', 'parked', 'done', 'cancelled', 'queued', 'suspended')),
    holder   INTEGER REFERENCES holder (hid),
    epoch    INTEGER NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    input    BLOB NOT NULL,
    output   BLOB,
    created  REAL NOT NULL,
    started  REAL NOT NULL,
    ended    REAL,
    crc      INTEGER NOT NULL,
    stop     REAL,
    forked_from   INTEGER REFERENCES run_9 (rid),
    forked_at     INTEGER CHECK ((forked_from IS NULL) = (forked_at IS NULL)),
    forked_last   INTEGER CHECK ((forked_from IS NULL) = (forked_last IS NULL)),
    superseded_by INTEGER REFERENCES run_9 (rid),
    stopped  BLOB,
    timed_from REAL,
    wake     REAL,
    queue    TEXT,
    priority INTEGER CHECK (priority >= 0),
    queue_key TEXT,
    dedup    TEXT,
    hold     TEXT,
    turn     INTEGER CHECK (turn > 0),
    CHECK ((status IN ('done', 'failed', 'parked')) = (output IS NOT NULL))
) STRICT;

INSERT INTO run_9 (rid, id, script, path, workflow, key, named, parent, status, holder, epoch, input, output, created, started, ended, crc, stop,
       forked_from, forked_at, forked_last, superseded_by, stopped, timed_from)
SELECT rid, id, script, path, workflow, key, named, parent, status, holder, epoch, input, output, created, started, ended, crc, stop,
       forked_from, forked_at, forked_last, superseded_by, stopped, timed_from
FROM run ORDER BY rid;

DROP TABLE run;

ALTER TABLE run_9 RENAME TO run;

CREATE INDEX run_unfinished ON run (workflow, key)
    WHERE named = 0 AND parent IS NULL AND status IN ('running', 'failed', 'suspended');

CREATE INDEX run_key ON run (key);

CREATE INDEX run_child ON run (parent) WHERE parent IS NOT NULL;

CREATE INDEX run_due ON run (status, wake) WHERE hold IS NULL AND wake IS NOT NULL;

CREATE INDEX run_hold ON run (script) WHERE hold IS NOT NULL;

CREATE INDEX run_waiting ON run (queue, priority, turn, rid) WHERE status = 'queued' AND turn IS NOT NULL;

CREATE INDEX run_not_in_turn ON run (wake, rid) WHERE status = 'queued' AND turn IS NULL AND hold IS NULL;

CREATE INDEX run_turn_of_key ON run (queue, queue_key, priority, turn)
    WHERE status = 'queued' AND turn IS NOT NULL AND queue_key IS NOT NULL;

CREATE INDEX run_executing ON run (queue, holder, queue_key) WHERE queue IS NOT NULL AND status = 'running' AND holder IS NOT NULL;

CREATE INDEX run_dedup ON run (workflow, script, dedup)
    WHERE dedup IS NOT NULL AND status IN ('queued', 'running', 'suspended');

CREATE INDEX run_held ON run (holder) WHERE holder IS NOT NULL;

CREATE TABLE wait (
    run      INTEGER NOT NULL,
    name     TEXT NOT NULL,
    key      BLOB NOT NULL CHECK (length(key) = 16),
    n        INTEGER NOT NULL CHECK (n >= 0),
    position INTEGER NOT NULL CHECK (position >= 0),
    event    TEXT,
    topic    TEXT,
    awaited  INTEGER,
    began    REAL NOT NULL,
    due      REAL,
    crc      INTEGER NOT NULL,
    CHECK (event IS NULL OR awaited IS NULL),
    PRIMARY KEY (run, name, key, n, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX wait_awaited ON wait (awaited) WHERE awaited IS NOT NULL;

CREATE TABLE signal (
    sid    INTEGER PRIMARY KEY AUTOINCREMENT,
    run    INTEGER NOT NULL,
    event  TEXT NOT NULL,
    topic  TEXT NOT NULL,
    id     TEXT,
    value  BLOB NOT NULL,
    stamp  REAL NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('stored', 'taken', 'aside')),
    seq    INTEGER,
    reason TEXT,
    crc    INTEGER NOT NULL
) STRICT;

CREATE INDEX signal_stored ON signal (run, event, topic) WHERE status = 'stored';

CREATE UNIQUE INDEX signal_id ON signal (run, id) WHERE id IS NOT NULL;

CREATE TABLE queue (
    name        TEXT PRIMARY KEY,
    concurrency INTEGER CHECK (concurrency > 0),
    per_key     INTEGER CHECK (per_key > 0),
    rate        INTEGER CHECK (rate > 0),
    seconds     REAL,
    paused      INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    declared    REAL NOT NULL,
    free        REAL,
    crc         INTEGER NOT NULL
) STRICT;

CREATE TABLE queue_turn (
    queue    TEXT NOT NULL,
    priority INTEGER NOT NULL,
    turn     INTEGER NOT NULL CHECK (turn > 0),
    crc      INTEGER NOT NULL,
    PRIMARY KEY (queue, priority)
) STRICT, WITHOUT ROWID;

CREATE TABLE schedule (
    name     TEXT PRIMARY KEY,
    script   TEXT NOT NULL,
    path     TEXT NOT NULL,
    workflow TEXT NOT NULL,
    spec     TEXT NOT NULL,
    tz       TEXT NOT NULL,
    overlap  TEXT NOT NULL CHECK (overlap IN ('skip', 'queue', 'allow', 'cancel')),
    missed   TEXT NOT NULL CHECK (missed IN ('skip', 'one', 'all')),
    within   REAL NOT NULL,
    spread   REAL NOT NULL,
    queue    TEXT,
    key      BLOB NOT NULL CHECK (length(key) = 16),
    input    BLOB NOT NULL,
    since    REAL NOT NULL,
    last     REAL NOT NULL,
    due      REAL,
    seen     REAL NOT NULL,
    status   TEXT NOT NULL CHECK (status IN ('active', 'paused', 'undeclared')),
    origin   TEXT NOT NULL CHECK (origin IN ('script', 'call')),
    declared REAL NOT NULL,
    crc      INTEGER NOT NULL
) STRICT;

CREATE TABLE tick (
    schedule TEXT NOT NULL,
    due      REAL NOT NULL,
    last     REAL NOT NULL CHECK (last >= due),
    ticks    INTEGER CHECK (ticks > 0),
    outcome  TEXT NOT NULL CHECK (outcome IN ('started', 'waiting', 'ended', 'skipped')),
    reason   TEXT,
    run      INTEGER,
    tz       TEXT,
    missed   INTEGER NOT NULL DEFAULT 0 CHECK (missed >= 0),
    previous REAL,
    made     REAL NOT NULL,
    crc      INTEGER NOT NULL,
    PRIMARY KEY (schedule, due)
) STRICT, WITHOUT ROWID;

CREATE INDEX tick_run ON tick (run) WHERE run IS NOT NULL;

CREATE INDEX tick_open ON tick (schedule) WHERE outcome IN ('started', 'waiting');

CREATE TABLE published (
    run   INTEGER NOT NULL,
    name  TEXT NOT NULL,
    value BLOB NOT NULL,
    stamp REAL NOT NULL,
    crc   INTEGER NOT NULL,
    PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;
