-- Statements that make dead letters, and that change them. See parking.py.

-- name: next_number
SELECT max(coalesce((SELECT max(lid) FROM dead_letter), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'dead_letter'), 0)) + 1

-- name: add
INSERT INTO dead_letter (lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put
UPDATE dead_letter SET run = ?, status = ?, created = ?, changed = ?, redriven = ?, holder = ?, input = ?, result = ?, exported = ?,
                       crc = ?, error = ?, fingerprint = ?
WHERE lid = ?

-- name: of_record
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint
FROM dead_letter WHERE run = ? AND seq = ?

-- name: too_old
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint
FROM dead_letter WHERE status = 'parked' AND seq > 0 AND holder IS NULL
ORDER BY lid DESC LIMIT -1 OFFSET ?

-- name: call_of
SELECT s.name, s.key, s.n, (SELECT max(epoch) FROM attempt a WHERE a.run = s.run) FROM step s WHERE s.run = ? AND s.seq = ?

-- name: drop_attempts
DELETE FROM attempt WHERE run = ? AND epoch = ? AND name = ? AND key = ? AND n = ?

-- name: any_letter
SELECT EXISTS (SELECT 1 FROM dead_letter)
