-- Statements about dead letters. See letters.py.

-- name: park
INSERT INTO dead_letter (run, seq, status, created, changed, exported, crc)
VALUES (?1, ?2, 'parked', ?3, ?3, ?4, ?5) RETURNING lid

-- name: park_run
INSERT INTO dead_letter (run, seq, status, created, changed, exported, crc)
VALUES (?1, 0, 'parked', ?2, ?2, ?3, ?4)
ON CONFLICT (run, seq) DO UPDATE SET status = 'parked', created = ?2, changed = ?2, holder = NULL, exported = ?3
RETURNING lid

-- name: too_old
SELECT lid, run, seq FROM dead_letter WHERE status = 'parked' AND seq > 0 AND holder IS NULL
ORDER BY lid DESC LIMIT -1 OFFSET ?

-- name: evict
UPDATE dead_letter SET status = 'evicted', changed = ? WHERE lid = ?

-- name: call_of
SELECT s.name, s.key, s.n, r.epoch FROM step s JOIN run r ON r.rid = s.run WHERE s.run = ? AND s.seq = ?

-- name: drop_attempts
DELETE FROM attempt WHERE run = ? AND epoch = ? AND name = ? AND key = ? AND n = ?

-- name: forget
DELETE FROM dead_letter WHERE run = ? AND seq = ?

-- name: get
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc
FROM dead_letter WHERE lid = ?

-- name: number
SELECT lid FROM dead_letter WHERE run = ? AND seq = ?

-- name: of_run
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc
FROM dead_letter WHERE run = ? AND seq >= ? ORDER BY seq LIMIT ?

-- name: after
SELECT d.lid, d.run, d.seq, d.status, d.created, d.changed, d.redriven, d.holder, d.input, d.result, d.exported, d.crc
FROM dead_letter d JOIN run r ON r.rid = d.run LEFT JOIN step s ON s.run = d.run AND s.seq = d.seq
WHERE d.lid > ?1 AND (?2 IS NULL OR d.status = ?2) AND (?3 IS NULL OR d.run IN (
    WITH RECURSIVE family (rid) AS (SELECT ?3 UNION SELECT c.rid FROM run c JOIN family f ON c.parent = f.rid)
    SELECT rid FROM family))
  AND (?4 IS NULL OR r.workflow = ?4) AND (?5 IS NULL OR s.name = ?5)
  AND (?6 IS NULL OR d.created < ?6) AND (?7 IS NULL OR d.created >= ?7)
ORDER BY d.lid LIMIT ?8

-- name: totals
SELECT status, count(*) FROM dead_letter GROUP BY status

-- name: claim
UPDATE dead_letter SET holder = ?, redriven = redriven + 1, changed = ? WHERE lid = ?

-- name: release
UPDATE dead_letter SET holder = NULL WHERE lid = ? AND holder = ?

-- name: resolve
UPDATE dead_letter SET status = 'resolved', result = ?, holder = NULL, changed = ?, crc = ? WHERE lid = ?

-- name: resolve_run
UPDATE dead_letter SET status = 'resolved', holder = NULL, changed = ? WHERE run = ? AND seq = 0 AND status = 'parked'

-- name: moved_past
SELECT EXISTS (
    SELECT 1 FROM step s WHERE s.run = ?1 AND s.seq > ?2 AND (s.name <> ?3 OR s.kind <> ?4)
      AND s.kind = 'step'
      AND NOT EXISTS (SELECT 1 FROM exempt e WHERE e.run = ?1 AND s.seq BETWEEN e.first AND e.last)
)

-- name: last_number
SELECT max(seq) FROM step WHERE run = ?

-- name: replace_step
UPDATE step SET status = 'done', output = ?, started = ?, ms = ?, attempts = ?, crc = ?
WHERE run = ? AND seq = ? AND status = 'dead'

-- name: edit
UPDATE dead_letter SET input = ?, changed = ?, crc = ? WHERE lid = ?

-- name: drop
UPDATE dead_letter SET status = 'dropped', holder = NULL, changed = ? WHERE lid = ?

-- name: due
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc
FROM dead_letter WHERE exported = 0 ORDER BY lid

-- name: exported
UPDATE dead_letter SET exported = 1 WHERE lid = ?

-- name: attempts_made
SELECT coalesce(max(number), 0) FROM attempt WHERE run = ? AND name = ? AND key = ? AND n = ?

-- name: copy
INSERT INTO dead_letter (run, seq, status, created, changed, redriven, input, result, crc)
SELECT ?, seq, status, created, changed, redriven, input, result, crc
FROM dead_letter WHERE run = ? AND seq > 0 AND seq < ?
