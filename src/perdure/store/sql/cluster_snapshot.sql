-- Statements that write down runs which another engine describes. See cluster_snapshot.py.

-- name: add_attempt
INSERT OR IGNORE INTO attempt (run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
