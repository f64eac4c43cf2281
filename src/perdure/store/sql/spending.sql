-- Statements about what attempts have spent. See spending.py.

-- name: put
INSERT OR REPLACE INTO spend (token, serial, run, name, key, n, usd, tokens, calls, ms, ledgers, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: get
SELECT 1 FROM spend WHERE token = ? AND serial = ?

-- name: of_run
SELECT token, serial, run, name, key, n, usd, tokens, calls, ms, ledgers, crc FROM spend WHERE run = ?

-- name: children
SELECT rid, id FROM run WHERE parent = ? ORDER BY rid

-- name: of_family
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT s.token, s.serial, s.run, s.name, s.key, s.n, s.usd, s.tokens, s.calls, s.ms, s.ledgers, s.crc
FROM spend s JOIN family f ON s.run = f.rid

-- name: bounds
SELECT run, usd, tokens, calls, ms, crc FROM budget WHERE run = ?

-- name: put_bounds
INSERT OR REPLACE INTO budget (run, usd, tokens, calls, ms, crc) VALUES (?, ?, ?, ?, ?, ?)

-- name: walk
SELECT token, serial, run, name, key, n, usd, tokens, calls, ms, ledgers, crc FROM spend
WHERE (token, serial) > (?, ?) ORDER BY token, serial LIMIT ?

-- name: records
SELECT run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind, lives, keyed,
       batch, asked, waits, label, spent
FROM step WHERE run = ? AND spent IS NOT NULL
