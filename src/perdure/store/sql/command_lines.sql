-- Statements about the command lines of runs. See command_lines.py.

-- name: put
INSERT OR REPLACE INTO command_line (run, line, crc) VALUES (?, ?, ?)

-- name: drop
DELETE FROM command_line WHERE run = ?

-- name: get
SELECT run, line, crc FROM command_line WHERE run = ?
