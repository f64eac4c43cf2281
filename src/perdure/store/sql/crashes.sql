-- name: add
INSERT OR IGNORE INTO crash (run, name, key, n, token, attempt, started, died, cause)
SELECT r.rid, ?3, ?4, ?5, h.token, ?6, ?7, ?8, ?9
FROM run r JOIN holder h ON r.holder = h.hid
WHERE r.id = ?1 AND h.token = ?2 AND r.status = 'running'

-- name: list
SELECT name, key, n, attempt, started, died, cause FROM crash WHERE run = ? ORDER BY died, name

-- name: forget
DELETE FROM crash WHERE run = ? AND name = ? AND key = ? AND n = ?

-- name: left
SELECT h.token, h.pid, h.host, h.started, r.id, r.workflow, r.script
FROM run r JOIN holder h ON r.holder = h.hid
WHERE r.status = 'running' AND r.parent IS NULL ORDER BY r.rid

-- name: is_left
SELECT count(*) FROM run r JOIN holder h ON r.holder = h.hid WHERE h.token = ? AND r.status = 'running'
