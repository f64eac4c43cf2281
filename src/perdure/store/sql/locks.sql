-- name: get_lock
SELECT holder, fence, since, run FROM lock WHERE name = ?

-- name: take_lock
INSERT INTO lock (name, holder, fence, since, run) VALUES (?, ?, 1, ?, ?)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = fence + 1, since = excluded.since, run = excluded.run
RETURNING fence

-- name: join_lock
UPDATE lock SET run = ? WHERE name = ?

-- name: free_lock
UPDATE lock SET holder = NULL, run = NULL WHERE name = ? AND holder = ? AND (?3 IS NULL OR fence = ?3)

-- name: lock_run
SELECT rid FROM run WHERE rid = ? AND holder = ?

-- name: locks
SELECT name, holder, since, run FROM lock WHERE holder IS NOT NULL ORDER BY name
