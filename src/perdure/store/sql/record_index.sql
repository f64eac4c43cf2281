-- name: step_index
SELECT run, seq, name, key, n, status, kind, crc FROM step WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?

-- name: last_of_calls
SELECT max(seq) FROM step WHERE run = ?1
HAVING max(seq) IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM step WHERE run = ?1 AND kind <> 'step' AND kind <> 'builtin')
    AND NOT EXISTS (SELECT 1 FROM step WHERE run = ?1 AND status <> 'done' AND status = 'abandoned')
