-- Which runs have changed since the last look, for pages that are open. See changes.py.

-- name: executing
SELECT DISTINCT h.token FROM run r JOIN holder h ON h.hid = r.holder WHERE r.status = 'running' ORDER BY h.token

-- name: last_run
SELECT coalesce(max(rid), 0) FROM run

-- name: at_work
SELECT rid, id, crc, (SELECT max(seq) FROM step WHERE run = rid)
FROM run INDEXED BY run_running WHERE status = 'running' ORDER BY rid DESC LIMIT :most

-- name: begun
SELECT rid, id, crc, 0 FROM run WHERE rid > :after ORDER BY rid LIMIT :most

-- name: again
SELECT rid, id, crc, (SELECT max(seq) FROM step WHERE run = rid) FROM run WHERE rid = ?

-- name: above
WITH RECURSIVE above (rid) AS (
    SELECT parent FROM run WHERE rid = ?1 UNION SELECT r.parent FROM run r JOIN above a ON r.rid = a.rid WHERE r.parent IS NOT NULL
)
SELECT r.id FROM above a JOIN run r ON r.rid = a.rid

-- name: everything
SELECT crc,
    (SELECT max(seq) FROM step WHERE run = r.rid),
    (SELECT group_concat(status) FROM (SELECT status || count(*) AS status FROM step WHERE run = r.rid AND status <> 'done' GROUP BY status)),
    (SELECT count(*) FROM attempt WHERE run = r.rid),
    (SELECT count(*) FROM life WHERE run = r.rid),
    (SELECT total(crc) FROM dead_letter WHERE run = r.rid),
    (SELECT total(crc) FROM wait WHERE run = r.rid),
    (SELECT count(*) FROM signal WHERE run = r.rid AND status = 'stored'),
    (SELECT total(crc) FROM published WHERE run = r.rid),
    (SELECT total(crc) FROM session WHERE run = r.rid),
    (SELECT total(crc) FROM batch WHERE run = r.rid),
    (SELECT count(*) FROM run WHERE parent = r.rid),
    (SELECT count(*) FROM run INDEXED BY run_running WHERE parent = r.rid AND status = 'running')
FROM run r WHERE id = ?
