-- name: rows
SELECT run, name, key, n, position, event, topic, awaited, began, due, crc FROM wait
WHERE run = ? AND name = ? AND key = ? AND n = ? ORDER BY position

-- name: of_family
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT w.run, w.name, w.key, w.n, w.position, w.event, w.topic, w.awaited, w.began, w.due, w.crc
FROM family f JOIN wait w ON w.run = f.rid JOIN run r ON r.rid = f.rid
WHERE r.status NOT IN ('failed', 'parked') ORDER BY w.began

-- name: family
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT f.rid FROM family f JOIN run r ON r.rid = f.rid WHERE r.status = 'running' ORDER BY f.rid

-- name: add
INSERT OR REPLACE INTO wait (run, name, key, n, position, event, topic, awaited, began, due, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: drop
DELETE FROM wait WHERE run = ? AND name = ? AND key = ? AND n = ?

-- name: letters
SELECT sid, run, event, topic, id, value, stamp, status, seq, reason, crc FROM signal
WHERE run = ? AND event = ? AND topic = ? AND status = 'stored' AND stamp <= ? ORDER BY sid LIMIT 1 OFFSET ?

-- name: letter
SELECT sid, run, event, topic, id, value, stamp, status, seq, reason, crc FROM signal WHERE sid = ?

-- name: put_letter
UPDATE signal SET status = ?, seq = ?, reason = ?, crc = ? WHERE sid = ?

-- name: stuck
SELECT DISTINCT w.run, w.name, w.key, w.n FROM wait w JOIN run r ON r.rid = w.run
WHERE w.began <= ? AND (w.event IS NOT NULL OR w.awaited IS NOT NULL)
  AND r.status IN ('suspended', 'running') AND r.superseded_by IS NULL
ORDER BY w.began LIMIT 100
