-- Statements that take what is damaged out of the way of a run's end. See damaged_run.py.

-- name: find
SELECT rid FROM run WHERE id = ?

-- name: family
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT rid FROM family

-- name: below_by_id
SELECT rid FROM run WHERE id > ?1 || '.' AND id < ?1 || '/'

-- name: above_by_id
SELECT rid FROM run WHERE rid < ?2 AND substr(?1, 1, length(id) + 1) = id || '.' ORDER BY length(id) DESC LIMIT 1

-- name: exists
SELECT 1 FROM run WHERE rid = ?

-- name: source_of
SELECT rid FROM run WHERE superseded_by = ?1 AND rid < ?1

-- name: was_damaged
SELECT 1 FROM attempt WHERE run = ? AND name = 'perdure.noted' AND key = ? LIMIT 1

-- name: fork_of
SELECT max(rid) FROM run WHERE forked_from = ?1 AND rid > ?1 HAVING max(rid) IS NOT NULL

-- name: free_letter
UPDATE dead_letter SET holder = NULL, crc = ? WHERE lid = ?

-- name: put_note
INSERT OR REPLACE INTO attempt (run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
