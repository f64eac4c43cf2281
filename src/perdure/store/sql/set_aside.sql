-- Statements about records that were taken back, and that a dead letter is about. See set_aside.py.

-- name: put
UPDATE step SET kind = ?, n = ?, status = ?, spent = NULL, crc = ? WHERE run = ? AND seq = ?

-- name: edits
SELECT s.name, s.key, s.n, d.lid, d.run, d.seq, d.status, d.created, d.changed, d.redriven, d.holder, d.input, d.result, d.exported, d.crc,
       d.error, d.fingerprint
FROM dead_letter d JOIN step s ON s.run = d.run AND s.seq = d.seq
WHERE d.run = ?1 AND d.status <> 'parked'
  AND s.kind <> 'step' AND (s.n >= ?2 OR (s.kind IN ('deferred', 'undone') AND s.status = 'failed'))
ORDER BY d.lid

-- name: undone_before
SELECT key FROM step WHERE run = ? AND kind <> 'step' AND kind = 'undone' AND status IN ('done', 'abandoned') AND seq < ?

-- name: to_make
SELECT max(d.lid), s.name FROM dead_letter d JOIN step s ON s.run = d.run AND s.seq = d.seq
WHERE d.run = ?1 AND d.input IS NOT NULL AND s.kind <> 'step' AND s.n >= ?2
  AND NOT EXISTS (SELECT 1 FROM step c WHERE c.run = ?1 AND c.name = s.name AND c.key = s.key AND c.n = s.n - ?2)
GROUP BY s.name, s.key, s.n ORDER BY 1
