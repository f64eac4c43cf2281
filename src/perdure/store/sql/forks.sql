-- Statements that make a run of another one's records. See forks.py.

-- name: index
SELECT seq, name, key, n, status, kind FROM step WHERE run = ? ORDER BY seq

-- name: copy_steps
INSERT INTO step (run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind)
SELECT ?1, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind FROM step
WHERE run = ?2 AND seq < ?3 AND (?4 OR kind <> 'undo')

-- name: complete_step
UPDATE step SET status = 'done', output = ?, crc = ? WHERE run = ? AND seq = ?

-- name: drop_step
DELETE FROM step WHERE run = ? AND seq = ?

-- name: next_number
SELECT coalesce(max(seq), 0) + 1 FROM step WHERE run = ?

-- name: add_step
INSERT INTO step (run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_fork
INSERT INTO run (id, script, path, workflow, key, named, parent, status, holder, epoch,
                 input, output, created, started, ended, crc, forked_from, forked_at, forked_last)
VALUES (?, ?, ?, ?, ?, ?, ?, 'running', ?, 0, ?, NULL, ?, ?, NULL, ?, ?, 0, 0) RETURNING rid

-- name: set_point
UPDATE run SET forked_at = ?, forked_last = ?, holder = NULL WHERE rid = ?

-- name: supersede
UPDATE run SET superseded_by = ?, holder = NULL, stop = NULL WHERE rid = ?

-- name: copy_functions
INSERT INTO function (run, kind, name, module, qualname, file, crc)
SELECT ?, kind, name, module, qualname, file, crc FROM function WHERE run = ?

-- name: copy_exempt
INSERT OR IGNORE INTO exempt (run, first, last) SELECT ?1, first, last FROM exempt WHERE run = ?2

-- name: exempt
INSERT OR IGNORE INTO exempt (run, first, last) VALUES (?, ?, ?)

-- name: results
SELECT seq, result FROM dead_letter WHERE run = ? AND status = 'resolved' AND result IS NOT NULL

-- name: unseen
SELECT 1 FROM dead_letter d JOIN step s ON s.run = d.run AND s.seq = d.seq
WHERE d.run = ? AND d.status = 'resolved' AND d.result IS NOT NULL AND s.status = 'dead' LIMIT 1

-- name: forks
SELECT rid, forked_at FROM run WHERE forked_from = ? ORDER BY rid

-- name: parked
SELECT lid, seq, holder FROM dead_letter WHERE run = ? AND status = 'parked' ORDER BY lid

-- name: move_letter
UPDATE dead_letter SET run = ?, holder = NULL WHERE lid = ?

-- name: supersede_letter
UPDATE dead_letter SET status = 'superseded', holder = NULL, changed = ? WHERE lid = ?

-- name: copy_letters
INSERT OR IGNORE INTO dead_letter (run, seq, status, created, changed, redriven, input, result, crc)
SELECT ?1, seq, status, created, changed, redriven, input, result, crc FROM dead_letter
WHERE run = ?2 AND seq > 0 AND seq < ?3 AND status IN ('resolved', 'dropped', 'evicted')

-- name: copy_attempts
INSERT OR IGNORE INTO attempt (run, epoch, name, key, n, number, counted, input, error, started, ms, crc)
SELECT ?1, epoch, name, key, n, number, counted, input, error, started, ms, crc FROM attempt
WHERE run = ?2 AND (name, key, n) IN (
    SELECT s.name, s.key, s.n FROM dead_letter d JOIN step s ON s.run = d.run AND s.seq = d.seq WHERE d.run = ?1
)

-- name: child
SELECT rid FROM run WHERE id = ?

-- name: children
SELECT rid FROM run WHERE parent = ? ORDER BY rid

-- name: adopt
UPDATE run SET parent = ? WHERE rid = ?
