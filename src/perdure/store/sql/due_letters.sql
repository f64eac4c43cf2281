-- Statements about dead letters whose run has gone on, or has ended. See due_letters.py.

-- name: letters
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint
FROM dead_letter WHERE run = ? AND status = ? ORDER BY lid

-- name: redriven
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint
FROM family f JOIN dead_letter d ON d.run = f.rid WHERE d.status = 'parked' AND d.holder IS NOT NULL ORDER BY lid

-- name: drop_deferred
DELETE FROM step WHERE run = ? AND kind = 'deferred' AND status = 'done'

-- name: dead_deferred
SELECT seq FROM step WHERE run = ? AND kind = 'deferred' AND status = 'dead'

-- name: put_status
UPDATE step SET status = ?, crc = ? WHERE run = ? AND seq = ?

-- name: dead_undone
SELECT seq, name, key, n FROM step WHERE run = ? AND kind = 'undone' AND status = 'dead'
