-- Statements about the maps of runs. See batches.py.

-- name: put
INSERT OR REPLACE INTO batch (run, number, step, total, concurrency, began, ended, crc)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE (SELECT holder FROM run WHERE rid = ?1) IS NOT NULL

-- name: list
SELECT run, number, step, total, concurrency, began, ended, crc FROM batch WHERE run = ? ORDER BY number

-- name: counts
SELECT batch, status, count(*) FROM step WHERE run = ? AND batch IS NOT NULL GROUP BY batch, status
