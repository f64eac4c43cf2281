-- Statements that write down runs which another engine describes. See cluster_snapshot.py.

-- name: add_step
INSERT INTO step (run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind, lives, keyed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_attempt
INSERT OR IGNORE INTO attempt (run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
