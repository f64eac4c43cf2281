-- What the processes of a state file know together about the services that their steps call: a small file of its own
-- beside it, `<state>-services`. Nothing of a run depends on it, so no commit waits for the disk, and a damaged one is
-- set aside. A cell is one state machine: the breaker of a service, the rate limit of a step, the pause of a service
-- that answered with HTTP 429. `state` is MessagePack, `changed` the time of the last change.
--
-- An opening is from when a breaker opened, or was isolated, until it was closed; the last fifty of each are kept, for
-- people only.

-- name: schema
CREATE TABLE cell (
    kind    TEXT NOT NULL CHECK (kind IN ('breaker', 'rate', 'pause')),
    name    TEXT NOT NULL,
    state   BLOB NOT NULL,
    changed REAL NOT NULL,
    PRIMARY KEY (name, kind)
) STRICT, WITHOUT ROWID;

-- name: table_of_openings
CREATE TABLE IF NOT EXISTS opening (
    name   TEXT NOT NULL,
    number INTEGER NOT NULL,
    began  REAL NOT NULL,
    ended  REAL,
    how    TEXT NOT NULL CHECK (how IN ('open', 'isolated')),
    error  TEXT NOT NULL,
    PRIMARY KEY (name, number)
) STRICT, WITHOUT ROWID;

-- name: opened
INSERT INTO opening (name, number, began, how, error)
SELECT ?1, coalesce((SELECT max(number) FROM opening WHERE name = ?1), 0) + 1, ?2, ?3, ?4;

-- name: closed
UPDATE opening SET ended = ?2 WHERE name = ?1 AND ended IS NULL;

-- name: forget_openings
DELETE FROM opening WHERE name = ?1 AND number <= (SELECT max(number) FROM opening WHERE name = ?1) - ?2;

-- name: openings
SELECT name, began, ended, how, error FROM opening WHERE coalesce(ended, ?2) >= ?1 AND began <= ?2 ORDER BY began;

-- name: get
SELECT state FROM cell WHERE name = ? AND kind = ?;

-- name: about
SELECT kind, state FROM cell WHERE name = ?;

-- name: all
SELECT kind, name, state FROM cell ORDER BY name, kind;

-- name: raw
SELECT kind, name, state, changed FROM cell;

-- name: put
INSERT INTO cell (kind, name, state, changed) VALUES (?, ?, ?, ?)
ON CONFLICT (name, kind) DO UPDATE SET state = excluded.state, changed = excluded.changed;
