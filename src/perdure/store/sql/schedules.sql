-- name: get
SELECT name, script, path, workflow, spec, tz, overlap, missed, within, spread, queue, key, input, since, last, due, seen, status,
       origin, declared, crc
FROM schedule WHERE name = ?

-- name: all
SELECT name, script, path, workflow, spec, tz, overlap, missed, within, spread, queue, key, input, since, last, due, seen, status,
       origin, declared, crc
FROM schedule ORDER BY name

-- name: put
INSERT OR REPLACE INTO schedule (name, script, path, workflow, spec, tz, overlap, missed, within, spread, queue, key, input, since,
       last, due, seen, status, origin, declared, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: remove
DELETE FROM schedule WHERE name = ?

-- name: forget_tick
DELETE FROM tick WHERE schedule = ? AND due = ?

-- name: forget_ticks
DELETE FROM tick WHERE schedule = ? AND run IS NULL

-- name: active
SELECT name FROM schedule WHERE status = 'active' ORDER BY due, name

-- name: ready
SELECT name FROM schedule s
WHERE (s.status = 'active' AND s.due <= ?1)
   OR EXISTS (SELECT 1 FROM tick t INDEXED BY tick_open WHERE t.schedule = s.name AND t.outcome IN ('started', 'waiting') AND t.outcome = 'waiting')
ORDER BY s.due, s.name

-- name: next
SELECT min(due) FROM schedule WHERE status = 'active'

-- name: waits
SELECT 1 FROM tick t INDEXED BY tick_open WHERE t.outcome IN ('started', 'waiting') AND t.outcome = 'waiting' LIMIT 1

-- name: unserved
SELECT name FROM schedule WHERE status = 'active' AND due <= ? ORDER BY due

-- name: get_tick
SELECT schedule, due, last, ticks, outcome, reason, run, tz, missed, previous, made, crc FROM tick WHERE schedule = ? AND due = ?

-- name: rows_up_to
SELECT schedule, due, last, ticks, outcome, reason, run, tz, missed, previous, made, crc FROM tick
WHERE schedule = ? AND due <= ? ORDER BY due DESC LIMIT 3

-- name: rows_between
SELECT schedule, due, last, ticks, outcome, reason, run, tz, missed, previous, made, crc FROM tick
WHERE schedule = ? AND due > ? AND due <= ? ORDER BY due

-- name: newest_tick
SELECT schedule, due, last, ticks, outcome, reason, run, tz, missed, previous, made, crc FROM tick
WHERE schedule = ? AND due < ? ORDER BY due DESC LIMIT 1

-- name: previous_run
SELECT due FROM tick WHERE schedule = ? AND due < ? AND run IS NOT NULL AND outcome <> 'skipped' ORDER BY due DESC LIMIT 1

-- name: open_ticks
SELECT schedule, due, last, ticks, outcome, reason, run, tz, missed, previous, made, crc FROM tick INDEXED BY tick_open
WHERE schedule = ? AND outcome IN ('started', 'waiting') ORDER BY due

-- name: tick_of_run
SELECT schedule, due, last, ticks, outcome, reason, run, tz, missed, previous, made, crc FROM tick INDEXED BY tick_run WHERE run = ?

-- name: latest_ticks
SELECT schedule, due, last, ticks, outcome, reason, run, tz, missed, previous, made, crc FROM tick
WHERE schedule = ? ORDER BY due DESC LIMIT ?

-- name: put_tick
INSERT OR REPLACE INTO tick (schedule, due, last, ticks, outcome, reason, run, tz, missed, previous, made, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: missed_ticks
SELECT coalesce(sum(coalesce(ticks, 0)), 0) FROM tick
WHERE schedule = ? AND outcome = 'skipped' AND reason IN ('missed', 'too-old') AND due >= ?

-- name: run_named
SELECT rid FROM run WHERE id = ?
