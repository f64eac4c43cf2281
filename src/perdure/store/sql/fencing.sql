-- name: fence
CREATE TEMP TRIGGER fence BEFORE INSERT ON main.step
WHEN NOT EXISTS (
    SELECT 1 FROM main.run r CROSS JOIN main.holder h ON h.hid = r.holder
    WHERE r.rid = NEW.run AND r.holder = :hid AND NOT h.gone
)
BEGIN
    SELECT RAISE(ABORT, 'taken over by another process');
END

-- name: unfence
DROP TRIGGER IF EXISTS temp.fence

-- name: is_gone
SELECT gone FROM holder WHERE hid = ?

-- name: is_mine
SELECT 1 FROM run r JOIN holder h ON h.hid = r.holder WHERE r.rid = ? AND r.holder = ? AND NOT h.gone

-- name: redrives
SELECT 1 FROM dead_letter d JOIN holder h ON h.hid = d.holder WHERE d.run = ? AND d.holder = ? AND NOT h.gone
