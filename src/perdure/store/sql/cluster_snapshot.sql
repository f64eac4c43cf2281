-- Statements that write down runs which another engine describes. See cluster_snapshot.py.

-- name: add_told_run
INSERT INTO run (id, script, path, workflow, key, named, parent, status, holder, epoch,
                 input, output, created, started, ended, crc)
VALUES (?, ?, ?, ?, ?, 1, ?, ?, NULL, 0, ?, ?, ?, ?, ?, ?) RETURNING rid

-- name: add_step
INSERT INTO step (run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_attempt
INSERT OR IGNORE INTO attempt (run, epoch, name, key, n, number, counted, input, error, started, ms, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_letter
INSERT INTO dead_letter (run, seq, status, created, changed, crc) VALUES (?1, ?2, 'parked', ?3, ?3, ?4)
