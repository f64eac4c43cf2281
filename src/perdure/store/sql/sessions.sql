-- Statements about who executed runs. See sessions.py.

-- name: add
INSERT INTO session (run, number, holder, began, ended, outcome, cause, version, script, memory, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: next_number
SELECT coalesce(max(number), 0) + 1 FROM session WHERE run = ?

-- name: open
SELECT run, number, holder, began, ended, outcome, cause, version, script, memory, crc FROM session
WHERE run = ? AND outcome IS NULL

-- name: open_of_process
SELECT s.run, s.number, s.holder, s.began, s.ended, s.outcome, s.cause, s.version, s.script, s.memory, s.crc
FROM session s JOIN holder h ON h.hid = s.holder
WHERE h.token = ? AND s.outcome IS NULL

-- name: processes
SELECT DISTINCT h.token FROM session s JOIN holder h ON h.hid = s.holder WHERE s.outcome IS NULL

-- name: is_any_open
SELECT 1 FROM session WHERE outcome IS NULL LIMIT 1

-- name: put
UPDATE session SET ended = ?, outcome = ?, cause = ?, memory = ?, crc = ? WHERE run = ? AND number = ? AND crc = ?

-- name: newest
SELECT run, number, holder, began, ended, outcome, cause, version, script, memory, crc
FROM session WHERE run = ? ORDER BY number DESC LIMIT 1

-- name: list
SELECT s.run, s.number, s.holder, s.began, s.ended, s.outcome, s.cause, s.version, s.script, s.memory, s.crc,
       h.hid, h.token, h.pid, h.host, h.started, h.gone, h.crc
FROM session s LEFT JOIN holder h ON h.hid = s.holder WHERE s.run = ? ORDER BY s.number
