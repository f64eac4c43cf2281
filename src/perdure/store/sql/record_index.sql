-- name: step_index
SELECT run, seq, name, key, n, status, kind, crc FROM step WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?

-- name: last
SELECT max(seq) FROM step WHERE run = ?

-- name: before
SELECT run, seq, name, key, n, status, kind, crc FROM step WHERE run < ? ORDER BY run DESC, seq DESC LIMIT 2

-- name: behind
SELECT run, seq, name, key, n, status, kind, crc FROM step WHERE run > ? ORDER BY run, seq LIMIT 2

-- name: last_of_calls
SELECT seq FROM step WHERE run = ?1
    AND NOT EXISTS (SELECT 1 FROM step WHERE run = ?1 AND kind <> 'step' AND kind <> 'builtin')
    AND NOT EXISTS (SELECT 1 FROM step WHERE run = ?1 AND status <> 'done' AND status = 'abandoned')
ORDER BY seq DESC LIMIT 1
