-- name: fence
CREATE TEMP TRIGGER fence BEFORE INSERT ON main.step
WHEN NOT EXISTS (
    SELECT 1 FROM main.run r CROSS JOIN main.holder h ON h.hid = r.holder
    WHERE r.rid = NEW.run AND r.holder = :hid AND NOT h.gone
)
BEGIN
    SELECT RAISE(ABORT, 'taken over by another process');
END

-- name: unfence
DROP TRIGGER IF EXISTS temp.fence

-- name: is_gone
SELECT gone FROM holder WHERE hid = ?

-- name: bury
UPDATE holder SET gone = 1 WHERE hid = ?

-- name: is_mine
SELECT 1 FROM run r JOIN holder h ON h.hid = r.holder WHERE r.rid = ? AND r.holder = ? AND NOT h.gone

-- name: redrives
SELECT 1 FROM dead_letter d JOIN holder h ON h.hid = d.holder WHERE d.run = ? AND d.holder = ? AND NOT h.gone

-- name: hand_over
UPDATE run SET holder = ? WHERE rid = ?

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
