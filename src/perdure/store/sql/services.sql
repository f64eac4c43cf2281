-- What the processes of a state file know together about the services that their steps call: a small file of its own
-- beside it, `<state>-services`. Nothing of a run depends on it, so no commit waits for the disk, and a damaged one is
-- set aside. A cell is one state machine: the breaker of a service, the rate limit of a step, the pause of a service
-- that answered with HTTP 429. `state` is MessagePack, `changed` the time of the last change.

-- name: schema
CREATE TABLE cell (
    kind    TEXT NOT NULL CHECK (kind IN ('breaker', 'rate', 'pause')),
    name    TEXT NOT NULL,
    state   BLOB NOT NULL,
    changed REAL NOT NULL,
    PRIMARY KEY (name, kind)
) STRICT, WITHOUT ROWID;

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
