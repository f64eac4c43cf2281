-- Statements about lives of runs that ended in the middle of a call. See lives.py.

-- name: add
INSERT OR IGNORE INTO life (run, name, key, n, token, attempt, started, ended, cause, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: list
SELECT run, name, key, n, token, attempt, started, ended, cause, crc FROM life WHERE run = ? ORDER BY ended, name

-- name: ended
SELECT name, key, n, kind, status, attempts FROM step WHERE run = ?1 AND key IN (SELECT key FROM life WHERE run = ?1)

-- name: undone
SELECT key, max(started) FROM step INDEXED BY step_other WHERE run = ? AND kind = 'undone' AND kind <> 'step' GROUP BY key
