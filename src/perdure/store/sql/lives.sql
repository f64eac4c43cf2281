-- Statements about lives of runs that ended in the middle of a call. See lives.py.

-- name: add
INSERT OR IGNORE INTO life (run, name, key, n, token, attempt, started, ended, cause, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: list
SELECT run, name, key, n, token, attempt, started, ended, cause, crc FROM life WHERE run = ? ORDER BY ended, name
