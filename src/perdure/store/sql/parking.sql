-- Statements that make dead letters, and that take them back. See parking.py.

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
SELECT s.name, s.key, s.n, (SELECT max(epoch) FROM attempt a WHERE a.run = s.run) FROM step s WHERE s.run = ? AND s.seq = ?

-- name: drop_attempts
DELETE FROM attempt WHERE run = ? AND epoch = ? AND name = ? AND key = ? AND n = ?

-- name: forget
DELETE FROM dead_letter WHERE run = ? AND seq = ?

-- name: resolve_run
UPDATE dead_letter SET status = 'resolved', holder = NULL, changed = ? WHERE run = ? AND seq = 0 AND status = 'parked'
