-- name: put
INSERT OR REPLACE INTO published (run, name, value, stamp, crc) VALUES (?, ?, ?, ?, ?)

-- name: get
SELECT run, name, value, stamp, crc FROM published WHERE run = ? AND name = ?

-- name: of_run
SELECT run, name, value, stamp, crc FROM published WHERE run = ? ORDER BY name
