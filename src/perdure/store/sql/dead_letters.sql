-- Statements about dead letters. See dead_letters.py.

-- name: get
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint
FROM dead_letter WHERE lid = ?

-- name: number
SELECT lid FROM dead_letter WHERE run = ? AND seq = ?

-- name: of_run
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint
FROM dead_letter WHERE run = ? AND seq >= ? ORDER BY seq LIMIT ?

-- name: after
SELECT d.lid, d.run, d.seq, d.status, d.created, d.changed, d.redriven, d.holder, d.input, d.result, d.exported, d.crc,
       d.error, d.fingerprint
FROM dead_letter d JOIN run r ON r.rid = d.run LEFT JOIN step s ON s.run = d.run AND s.seq = d.seq
WHERE d.lid > ?1 AND (?2 IS NULL OR d.status = ?2) AND (?3 IS NULL OR d.run IN (
    WITH RECURSIVE family (rid) AS (SELECT ?3 UNION SELECT c.rid FROM run c JOIN family f ON c.parent = f.rid)
    SELECT rid FROM family))
  AND (?4 IS NULL OR r.workflow = ?4) AND (?5 IS NULL OR s.name = ?5)
  AND (?8 IS NULL OR d.fingerprint = ?8)
  AND (?6 IS NULL OR d.created < ?6) AND (?7 IS NULL OR d.created >= ?7)
ORDER BY d.lid LIMIT ?9

-- name: before
SELECT d.lid, d.run, d.seq, d.status, d.created, d.changed, d.redriven, d.holder, d.input, d.result, d.exported, d.crc,
       d.error, d.fingerprint
FROM dead_letter d JOIN run r ON r.rid = d.run LEFT JOIN step s ON s.run = d.run AND s.seq = d.seq
WHERE d.lid < ?1 AND (?2 IS NULL OR d.status = ?2) AND (?3 IS NULL OR d.run IN (
    WITH RECURSIVE family (rid) AS (SELECT ?3 UNION SELECT c.rid FROM run c JOIN family f ON c.parent = f.rid)
    SELECT rid FROM family))
  AND (?4 IS NULL OR r.workflow = ?4) AND (?5 IS NULL OR s.name = ?5)
  AND (?8 IS NULL OR d.fingerprint = ?8)
  AND (?6 IS NULL OR d.created < ?6) AND (?7 IS NULL OR d.created >= ?7)
ORDER BY d.lid DESC LIMIT ?9

-- name: reasons
SELECT fingerprint, count(*), max(lid), min(created), max(created) FROM dead_letter
WHERE status = 'parked' AND fingerprint IS NOT NULL GROUP BY fingerprint ORDER BY count(*) DESC, max(lid) DESC LIMIT ?

-- name: without_reason
SELECT lid FROM dead_letter WHERE status = 'parked' AND fingerprint IS NULL ORDER BY lid DESC LIMIT ?

-- name: undoings
SELECT d.lid FROM dead_letter d JOIN step s ON s.run = d.run AND s.seq = d.seq
WHERE d.status = 'parked' AND s.kind = 'undone' AND s.kind <> 'step'

-- name: totals
SELECT status, count(*) FROM dead_letter GROUP BY status

-- name: moved_past
SELECT EXISTS (
    SELECT 1 FROM step s WHERE s.run = ?1 AND s.seq > ?2 AND (s.name <> ?3 OR s.kind <> ?4)
      AND s.kind = 'step'
      AND NOT EXISTS (SELECT 1 FROM exempt e WHERE e.run = ?1 AND s.seq BETWEEN e.first AND e.last)
)

-- name: last_number
SELECT max(seq) FROM step WHERE run = ?

-- name: replace_step
UPDATE step SET status = ?, output = ?, started = ?, ms = ?, attempts = ?, crc = ?
WHERE run = ? AND seq = ? AND status IN ('dead', 'abandoned')

-- name: due
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint
FROM dead_letter WHERE exported = 0 ORDER BY lid

-- name: unfinished
WITH RECURSIVE above (rid, parent) AS (
    SELECT rid, parent FROM run WHERE rid = ?
    UNION SELECT r.rid, r.parent FROM run r JOIN above a ON r.rid = a.parent
)
SELECT r.id FROM run r JOIN above a ON a.rid = r.rid WHERE a.parent IS NULL AND r.status NOT IN ('done', 'cancelled')
