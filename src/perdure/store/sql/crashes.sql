-- name: run_of
SELECT r.rid FROM run r JOIN holder h ON r.holder = h.hid WHERE r.id = ? AND h.token = ? AND r.status = 'running'

-- name: runs_of
SELECT r.rid, (
    WITH RECURSIVE family (rid) AS (SELECT r.rid UNION SELECT c.rid FROM run c JOIN family f ON c.parent = f.rid)
    SELECT coalesce(sum(last), 0) FROM (SELECT max(s.seq) AS last FROM step s JOIN family f ON s.run = f.rid GROUP BY s.run)
), r.started
FROM run r JOIN holder h ON r.holder = h.hid WHERE h.token = ? AND r.status = 'running' AND r.parent IS NULL

-- name: progress
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT c.rid FROM run c JOIN family f ON c.parent = f.rid)
SELECT coalesce(sum(last), 0) FROM (SELECT max(s.seq) AS last FROM step s JOIN family f ON s.run = f.rid GROUP BY s.run)

-- name: add
INSERT OR IGNORE INTO crash (run, name, key, n, token, attempt, started, died, cause, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: list
SELECT run, name, key, n, token, attempt, started, died, cause, crc FROM crash WHERE run = ? ORDER BY died, name

-- name: company
WITH RECURSIVE up (rid, parent) AS (
    SELECT rid, parent FROM run WHERE rid = ?
    UNION SELECT r.rid, r.parent FROM run r JOIN up ON r.rid = up.parent
)
SELECT c.run, c.name, c.key, c.n, c.token, c.attempt, c.started, c.died, c.cause, c.crc
FROM crash c JOIN up ON c.run = up.rid WHERE c.name = 'perdure.between'

-- name: beside
SELECT count(*) - 1 FROM run INDEXED BY run_running
WHERE status = 'running' AND parent IS NULL AND holder = (SELECT holder FROM run WHERE rid = ?)

-- name: forget
DELETE FROM crash WHERE run = ? AND name = ? AND key = ? AND n = ?

-- name: left
SELECT h.token, h.pid, h.host, h.started, r.id, r.workflow, r.script, h.gone
FROM run r INDEXED BY run_running JOIN holder h ON r.holder = h.hid
WHERE r.status = 'running' AND r.parent IS NULL ORDER BY r.rid

-- name: holders
SELECT DISTINCT h.token, h.hid FROM run r JOIN holder h ON r.holder = h.hid WHERE r.status = 'running'
