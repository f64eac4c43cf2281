-- name: known
SELECT sid, run, event, topic, id, value, stamp, status, seq, reason, crc FROM signal WHERE run = ? AND id = ?

-- name: of_run
SELECT sid, run, event, topic, id, value, stamp, status, seq, reason, crc FROM signal
WHERE run = ? AND status <> 'taken' ORDER BY sid

-- name: stored
SELECT count(*) FROM signal WHERE run = ? AND event = ? AND topic = ? AND status = 'stored'

-- name: next_number
SELECT max(coalesce((SELECT max(sid) FROM signal), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'signal'), 0)) + 1

-- name: add
INSERT INTO signal (sid, run, event, topic, id, value, stamp, status, seq, reason, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: waits
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT w.run, w.name, w.key, w.n, w.position, w.event, w.topic, w.awaited, w.began, w.due, w.crc
FROM family f JOIN wait w ON w.run = f.rid JOIN run r ON r.rid = f.rid
WHERE w.event = ?2 AND coalesce(w.topic, '') = ?3 AND r.status NOT IN ('failed', 'parked')

-- name: all_of_run
SELECT sid, run, event, topic, id, value, stamp, status, seq, reason, crc FROM signal WHERE run = ? ORDER BY sid

-- name: drop
DELETE FROM signal WHERE sid = ?

-- name: record
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT 1 FROM family f JOIN step s ON s.run = f.rid AND s.seq = ?2
WHERE s.kind = 'builtin' AND s.name IN ('perdure.wait:' || ?3, 'perdure.wait_any', 'perdure.approval')
