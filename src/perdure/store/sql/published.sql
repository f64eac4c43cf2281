-- name: put
INSERT OR REPLACE INTO published (run, name, value, stamp, crc) VALUES (?, ?, ?, ?, ?)

-- name: get
SELECT run, name, value, stamp, crc FROM published WHERE run = ? AND name = ?

-- name: of_run
SELECT run, name, value, stamp, crc FROM published WHERE run = ? ORDER BY name

-- name: publishings
WITH RECURSIVE family (rid) AS (VALUES (?1), (?2) UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT s.run, s.seq, s.name, s.key, s.n, s.status, s.input, s.output, s.started, s.ms, s.attempts, s.crc, s.kind,
       s.lives, s.keyed, s.batch, s.asked, s.waits, s.label, s.spent
FROM family f JOIN step s ON s.run = f.rid
WHERE s.name IN ('perdure.publish', 'perdure.aio.publish') AND s.kind = 'builtin' AND s.status = 'done'
      AND (s.run = ?1 AND s.seq < ?3 OR s.run NOT IN (?1, ?2) AND s.started <= ?4)
ORDER BY s.started + s.ms / 1000.0, s.run, s.seq
