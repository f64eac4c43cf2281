-- name: get_lock
SELECT name, holder, fence, since, run, crc FROM lock WHERE name = ?

-- name: put_lock
INSERT OR REPLACE INTO lock (name, holder, fence, since, run, crc) VALUES (?, ?, ?, ?, ?, ?)

-- name: waits
SELECT 1 FROM run WHERE status = 'queued' AND turn IS NOT NULL LIMIT 1

-- name: lock_run
SELECT rid FROM run WHERE rid = ? AND holder = ?

-- name: locks
SELECT name, holder, fence, since, run, crc FROM lock WHERE holder IS NOT NULL ORDER BY name

-- name: of_workflow
SELECT l.name FROM lock l JOIN run r ON r.rid = l.run WHERE r.script = ? AND r.workflow = ? AND r.rid <> ?
