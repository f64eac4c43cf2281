-- The story of the data.
--
-- A *holder* is a process that has opened this file to run something. It keeps an flock on <state>-locks/<token> for as long
-- as it lives; nothing else says whether it is alive. It is `gone` once another process has taken something from it, for good: its
-- own connection refuses to write to its runs then (fencing.sql).
--
-- A *run* is one execution of a workflow from its first step to its result, over as many processes as that takes. `rid` is
-- its short number, used by the tables below; `id` is the name that people use. A run without a name of its own is found
-- again by script (its path below the folder of the state, so that the folder may be moved) + workflow + key (the digest of its
-- inputs) until it has ended; `path` is where the script was last seen. `holder` is who runs it; a dead holder's
-- runs are free. `epoch` counts how often the run has failed: attempts of an earlier epoch no longer count. `stop` is when
-- its end was asked for; its timeout counts from `timed_from`: when it began, or was gone on with after it had failed. A *parked* run has failed too often, and is gone on with only when a person says so. A *queued* run has not
-- begun, a *suspended* one waits with all its branches: neither has a holder. `wake` is when it may go on, if that is a question of
-- time; `hold` why it is not gone on with until somebody acts. `queue`, `priority` (0 first), `queue_key` (of which so many run at a
-- time) and `dedup` (under which there is one unfinished run) are of runs that were put into a queue.
-- A *fork* has the records of another run below the number `forked_at`; those up to `forked_last` are of what that run did
-- behind this point, and is made again. It supersedes that run: what both stand on is the
-- fork's to undo, and an unfinished run that is superseded is neither resumed nor cancelled (docs/decisions/0022-repair-adds-up.md).
--
-- A *lock* keeps the processes that name it apart. `holder` is who has it; a dead holder's locks are free. `fence` grows
-- with every acquisition and is never taken back, `run` is the one that joined last, if a run has it.
--
-- A *step* row says that the workflow has moved past a call: it is done, or failed and was handled, or its item was parked
-- as a dead letter, or it was abandoned: the workflow went on without it (a timeout, a race that another call won). Identity is name + key + n, n being how many times that pair came before. Rows are appended in the order of completion
-- and never changed, so a run is one contiguous stretch of the tree. `kind` says what a row is about, and nothing else does:
-- the name of a user's step carries no meaning. A `defer` row notes a call to be made when the run ends, an `undo` row a call
-- that can be taken back; `deferred` and `undone` rows are the clean-ups that were made of them. A `timers` row notes which
-- timers of an async workflow fired, and after which records. `builtin` is a call of
-- perdure's own steps, such as perdure.now().
--
-- An *exempt* row says that a stretch of a run's records is not held against the script if no call claims them: all that
-- were there when the user accepted the changes of the script, and those that were made after the failure that ended the
-- run (a message that it failed, say, which need not be sent when it goes well the next time).
--
-- An *attempt* row says that one try of a call failed. They outlive the process, so a crash does not hand out new attempts.
--
-- A *life* row says that a life of the run ended in the middle of a call: with the death of the process, with Ctrl-C, with sys.exit.
-- It stays. A call that ends well after that is marked for good: `lives` is in how many it was executed, `keyed` whether it asked for
-- its idempotency key. `run.stopped` is why the run was last left, `attempt.verdict` what was
-- known of the failure when it happened; both are packed (core/policies/verdicts.py).
--
-- A *crash* row says that an attempt of a call was in flight when the process with that token died. It goes when the call
-- comes to an end, well or badly.
--
-- A *dead letter* points at the step row of a call that failed for good (seq 0: at a run that was set aside as a whole);
-- input, error and attempts are found there. `lid` is the number that people type, never given twice. Parked, it waits to
-- be looked at; `holder` is who re-drives it at this moment, and a dead holder's letters are free. `input` is what the input
-- was edited into, `result` what a redrive came to; if the run could still see it, its step row has been replaced by
-- one that is done. `exported` says whether it was also to be appended to a JSON Lines file (0), and has been (1). Evicted
-- is what a newer one had to make room for: its attempts are gone. Superseded is the letter of a call that a fork makes again.
--
-- A *function* row says whose function the run calls under a name: module and qualified name. It is written with the first
-- record of that name. `module` is __main__ for the script of the run itself; `file` is relative to the folder of that.
-- `defaults` are those that its calls are compared by: a digest of each, by its parameter. A *workflow_default* row says the same of a
-- workflow, for all of its runs.
--
-- A *piece* is a part of a large payload, kept once; the row that it belongs to holds the digests of the pieces (a manifest), and
-- `crc` is over that. A *piece_use* row says that rows of a run need it: it goes with the last run that does.
--
-- A *spend* row is what an attempt has spent: billionths of a dollar, tokens, milliseconds, and 1 for the first attempt of a call.
-- `token` and `serial` are of the process that made it, `ledgers` the budgets that it counts for. A *budget* row raises them.
--
-- A *wait* row is what an open wait waits for: an event (with its `topic`), the end of the run `awaited`, or only a time (`due`). A wait
-- for the first of several has a row for each, at their `position`. It goes when the step row of the wait is written,
-- and when the run is done or cancelled: what a run that has failed waited for counts from its beginning when it is gone on with.
--
-- A *signal* row is what was sent to a run. It is `stored` until a wait takes it (`seq` is that record's), once; `aside` was one that did
-- not fit what was waited for. `id` is the sender's, so that the same one is not stored twice.
--
-- A *queue* row holds its limits: runs at a time, runs of one key at a time, `rate` begun in so many `seconds`.
--
-- A *schedule* row is the declaration that was seen last, a *tick* row what became of one point in time: the run that was made for it,
-- or why none was. `last` is up to when ticks have been decided; they count from `since`. `due` is when the next run begins, which
-- follows from `last` and is computed anew now and then; `seen` when that was. Ticks that were skipped one after the other for one
-- reason share a row, from `due` to `last` (`ticks` of them, NULL: not counted). A *waiting* tick has a queued run on hold,
-- which may begin when the runs before have ended. `missed` is for how many ticks that nobody served a run stands, `previous` the
-- tick before that had a run, `tz` the zone of the schedule then.
--
-- A *published* row is a value that a run shows to others; the last one of a name.
--
-- An *artifact_use* row says that rows of a run name a file of large data, in <state>-artifacts.
--
-- A *session* row is one process at a run (not at a child run): who, from when to when, how it left it (`outcome` NULL: it has not),
-- with which version of perdure, the digest of the script's file, and the most memory it had used (bytes). Of a death, `cause` is
-- what the watchdog saw. `step.batch` is the number of a *batch* row: a map, counted in the order in which the run came to them.
-- Of a call, `asked` is how long after it was made its last attempt began (milliseconds), `waits` what it waited for meanwhile (JSON:
-- reason to milliseconds), `label` the map's key as text, and `spent` what it has spent, if all of that is in its record (see spending.sql).
-- `run.steps` is how many steps of a run have records, known while nobody executes it. `attempt.delay` is how many seconds
-- were waited then, and `delayed_by` who has named them. `dead_letter.error` is the class of the failure, and letters of one
-- `fingerprint` are of one reason. A *code* row is a function as a version of its file had it: the names of its parameters, the options of
-- the step (both JSON), its place, and the digest of the file. A *deed* row is what a person has had done.
-- A *keyed_request* row is what the page was asked to do under a key (`key` and `asked` are digests): the process that carries it out, and
-- its answer (`status` NULL: there is none, so it is being carried out, or was when that process died).
-- A *command_line* row is what the script was given that has begun a run, or has gone on with it last: packed, without credentials.
--
-- `rid > 0` is always true. An index that says so is only taken by a query that says so: the lists of runs. The planner knows no
-- sizes, and would take them in the place of those that find the one run that is meant.
--
-- What a column may hold is asked one value after the other: for `IN (...)` of more than two values SQLite
-- builds a table at each insert and update.
--
-- A run that begins, goes on and ends writes few indexes: those of lists leave out what it mostly passes through. Who executes what, and
-- what nobody goes on with, is in `run_running`; a query says of what it leaves out that it does (`status <> 'running'`).
--
-- crc is a CRC-32 over all columns of the row; SQLite does not notice flipped bytes by itself. That of a step has two halves: the
-- upper one is over what identifies it, so that the index of a run is checked without its payloads (core/checksums.py).

CREATE TABLE holder (
    hid     INTEGER PRIMARY KEY AUTOINCREMENT,
    token   TEXT NOT NULL UNIQUE,
    pid     INTEGER NOT NULL,
    host    TEXT NOT NULL,
    started REAL NOT NULL,
    gone    INTEGER NOT NULL DEFAULT 0 CHECK (gone IN (0, 1)),
    crc     INTEGER NOT NULL
) STRICT;

CREATE TABLE run (
    rid      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    script   TEXT NOT NULL,
    path     TEXT NOT NULL,
    workflow TEXT NOT NULL,
    key      BLOB NOT NULL CHECK (length(key) = 16),
    named    INTEGER NOT NULL CHECK (named IN (0, 1)),
    parent   INTEGER REFERENCES run (rid),
    status   TEXT NOT NULL CHECK (status = 'running' OR status = 'failed' OR status = 'parked' OR status = 'done' OR status = 'cancelled' OR status = 'queued' OR status = 'suspended'),
    holder   INTEGER REFERENCES holder (hid),
    epoch    INTEGER NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    input    BLOB NOT NULL,
    output   BLOB,
    created  REAL NOT NULL,
    started  REAL NOT NULL,
    ended    REAL,
    crc      INTEGER NOT NULL,
    stop     REAL,
    forked_from   INTEGER REFERENCES run (rid),
    forked_at     INTEGER CHECK ((forked_from IS NULL) = (forked_at IS NULL)),
    forked_last   INTEGER CHECK ((forked_from IS NULL) = (forked_last IS NULL)),
    superseded_by INTEGER REFERENCES run (rid),
    stopped  BLOB,
    timed_from REAL,
    wake     REAL,
    queue    TEXT,
    priority INTEGER CHECK (priority >= 0),
    queue_key TEXT,
    dedup    TEXT,
    hold     TEXT,
    turn     INTEGER CHECK (turn > 0),
    steps    INTEGER CHECK (steps >= 0),
    CHECK ((status = 'done' OR status = 'failed' OR status = 'parked') = (output IS NOT NULL))
) STRICT;

CREATE INDEX run_unfinished ON run (workflow, key)
    WHERE named = 0 AND parent IS NULL AND (status = 'running' OR status = 'failed' OR status = 'suspended');

CREATE INDEX run_key ON run (key) WHERE named = 0 OR queue IS NULL;

CREATE INDEX run_child ON run (parent) WHERE parent IS NOT NULL;

CREATE INDEX run_root ON run (parent) WHERE parent IS NULL AND rid > 0;

CREATE INDEX run_status ON run (status, parent) WHERE rid > 0 AND status <> 'running' AND status <> 'done';

CREATE INDEX run_workflow ON run (workflow, status, parent) WHERE rid > 0 AND status <> 'running' AND status <> 'queued';

CREATE INDEX run_running ON run (holder, queue, queue_key) WHERE status = 'running';

CREATE INDEX run_due ON run (status, wake) WHERE hold IS NULL AND wake IS NOT NULL;

CREATE INDEX run_hold ON run (script) WHERE hold IS NOT NULL;

CREATE INDEX run_waiting ON run (queue, priority, turn, rid) WHERE status = 'queued' AND turn IS NOT NULL;

CREATE INDEX run_not_in_turn ON run (wake, rid) WHERE status = 'queued' AND turn IS NULL AND hold IS NULL;

CREATE INDEX run_turn_of_key ON run (queue, queue_key, priority, turn)
    WHERE status = 'queued' AND turn IS NOT NULL AND queue_key IS NOT NULL;

CREATE INDEX run_dedup ON run (workflow, script, dedup)
    WHERE dedup IS NOT NULL AND status IN ('queued', 'running', 'suspended');

CREATE TABLE lock (
    name   TEXT PRIMARY KEY,
    holder INTEGER REFERENCES holder (hid),
    fence  INTEGER NOT NULL CHECK (fence > 0),
    since  REAL NOT NULL,
    run    INTEGER REFERENCES run (rid),
    crc    INTEGER NOT NULL
) STRICT;

CREATE TABLE step (
    run      INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    name     TEXT NOT NULL,
    key      BLOB NOT NULL CHECK (length(key) = 16),
    n        INTEGER NOT NULL CHECK (n >= 0),
    status   TEXT NOT NULL CHECK (status = 'done' OR status = 'failed' OR status = 'dead' OR status = 'abandoned'),
    input    BLOB NOT NULL,
    output   BLOB NOT NULL,
    started  REAL NOT NULL,
    ms       INTEGER NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    crc      INTEGER NOT NULL,
    kind     TEXT NOT NULL CHECK (kind = 'step' OR kind = 'builtin' OR kind = 'defer' OR kind = 'undo' OR kind = 'deferred' OR kind = 'undone' OR kind = 'timers'),
    lives    INTEGER CHECK (lives > 1),
    keyed    INTEGER CHECK (keyed IN (0, 1)),
    batch    INTEGER CHECK (batch > 0),
    asked    INTEGER CHECK (asked > 0),
    waits    TEXT,
    label    TEXT,
    spent    TEXT,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX step_not_done ON step (run, status) WHERE status <> 'done';

CREATE INDEX step_other ON step (run, kind) WHERE kind <> 'step';

CREATE TABLE function (
    run      INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    module   TEXT NOT NULL,
    qualname TEXT NOT NULL,
    file     TEXT NOT NULL,
    crc      INTEGER NOT NULL,
    code     BLOB REFERENCES code (digest),
    defaults BLOB,
    PRIMARY KEY (run, kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE workflow_default (
    script   TEXT NOT NULL,
    workflow TEXT NOT NULL,
    defaults BLOB NOT NULL,
    crc      INTEGER NOT NULL,
    PRIMARY KEY (script, workflow)
) STRICT, WITHOUT ROWID;

CREATE TABLE exempt (
    run   INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL CHECK (last >= first),
    crc   INTEGER NOT NULL,
    PRIMARY KEY (run, first, last)
) STRICT, WITHOUT ROWID;

CREATE TABLE crash (
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

CREATE TABLE attempt (
    run     INTEGER NOT NULL,
    epoch   INTEGER NOT NULL,
    name    TEXT NOT NULL,
    key     BLOB NOT NULL CHECK (length(key) = 16),
    n       INTEGER NOT NULL,
    number  INTEGER NOT NULL CHECK (number > 0),
    counted INTEGER NOT NULL CHECK (counted IN (0, 1)),
    input   BLOB NOT NULL,
    error   BLOB NOT NULL,
    started REAL NOT NULL,
    ms      INTEGER NOT NULL,
    crc     INTEGER NOT NULL,
    verdict BLOB,
    delay   REAL CHECK (delay >= 0),
    delayed_by TEXT CHECK (delayed_by IN ('policy', 'server')),
    PRIMARY KEY (run, epoch, name, key, n, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letter (
    lid      INTEGER PRIMARY KEY AUTOINCREMENT,
    run      INTEGER NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq >= 0),
    status   TEXT NOT NULL CHECK (status = 'parked' OR status = 'resolved' OR status = 'dropped' OR status = 'evicted' OR status = 'superseded'),
    created  REAL NOT NULL,
    changed  REAL NOT NULL,
    redriven INTEGER NOT NULL DEFAULT 0 CHECK (redriven >= 0),
    holder   INTEGER REFERENCES holder (hid),
    input    BLOB,
    result   BLOB,
    exported INTEGER CHECK (exported IN (0, 1)),
    crc      INTEGER NOT NULL,
    error    TEXT,
    fingerprint BLOB CHECK (length(fingerprint) = 8),
    UNIQUE (run, seq),
    CHECK (result IS NULL OR status = 'resolved')
) STRICT;

CREATE INDEX letter_evictable ON dead_letter (lid) WHERE status = 'parked' AND seq > 0 AND holder IS NULL;

CREATE INDEX letter_reason ON dead_letter (fingerprint) WHERE status = 'parked';

CREATE INDEX letter_due ON dead_letter (lid) WHERE exported = 0;

CREATE TABLE piece (
    digest BLOB PRIMARY KEY NOT NULL CHECK (length(digest) = 16),
    data   BLOB NOT NULL
) STRICT;

CREATE TABLE piece_use (
    run    INTEGER NOT NULL,
    digest BLOB NOT NULL REFERENCES piece (digest),
    crc    INTEGER NOT NULL,
    PRIMARY KEY (run, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX piece_used ON piece_use (digest);

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

CREATE TABLE budget (
    run    INTEGER PRIMARY KEY,
    usd    INTEGER,
    tokens INTEGER,
    calls  INTEGER,
    ms     INTEGER,
    crc    INTEGER NOT NULL
) STRICT;

CREATE TABLE artifact_use (
    run    INTEGER NOT NULL,
    digest TEXT NOT NULL,
    crc    INTEGER NOT NULL,
    PRIMARY KEY (run, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX artifact_used ON artifact_use (digest);

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
    status TEXT NOT NULL CHECK (status = 'stored' OR status = 'taken' OR status = 'aside'),
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
    overlap  TEXT NOT NULL CHECK (overlap = 'skip' OR overlap = 'queue' OR overlap = 'allow' OR overlap = 'cancel'),
    missed   TEXT NOT NULL CHECK (missed = 'skip' OR missed = 'one' OR missed = 'all'),
    within   REAL NOT NULL,
    spread   REAL NOT NULL,
    queue    TEXT,
    key      BLOB NOT NULL CHECK (length(key) = 16),
    input    BLOB NOT NULL,
    since    REAL NOT NULL,
    last     REAL NOT NULL,
    due      REAL,
    seen     REAL NOT NULL,
    status   TEXT NOT NULL CHECK (status = 'active' OR status = 'paused' OR status = 'undeclared'),
    origin   TEXT NOT NULL CHECK (origin IN ('script', 'call')),
    declared REAL NOT NULL,
    crc      INTEGER NOT NULL
) STRICT;

CREATE TABLE tick (
    schedule TEXT NOT NULL,
    due      REAL NOT NULL,
    last     REAL NOT NULL CHECK (last >= due),
    ticks    INTEGER CHECK (ticks > 0),
    outcome  TEXT NOT NULL CHECK (outcome = 'started' OR outcome = 'waiting' OR outcome = 'ended' OR outcome = 'skipped'),
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

CREATE TABLE keyed_request (
    key    BLOB PRIMARY KEY NOT NULL CHECK (length(key) = 16),
    asked  BLOB NOT NULL CHECK (length(asked) = 16),
    at     REAL NOT NULL,
    token  TEXT NOT NULL,
    status INTEGER CHECK (status BETWEEN 100 AND 599),
    media  TEXT CHECK ((media IS NULL) = (status IS NULL)),
    body   BLOB CHECK ((body IS NULL) = (status IS NULL)),
    crc    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE command_line (
    run  INTEGER PRIMARY KEY,
    line BLOB NOT NULL,
    crc  INTEGER NOT NULL
) STRICT;
