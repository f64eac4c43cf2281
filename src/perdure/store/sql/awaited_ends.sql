-- name: has_waits
SELECT 1 WHERE EXISTS (SELECT 1 FROM wait WHERE run = ?1) OR EXISTS (SELECT 1 FROM wait WHERE awaited = ?1)

-- name: drop_of_run
DELETE FROM wait WHERE run = ?

-- name: awaiting
SELECT DISTINCT run FROM wait WHERE awaited = ?
