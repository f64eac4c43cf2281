-- Statements about runs whose inputs are looked at. See runs_by_inputs.py.

-- name: after
SELECT rid, id, script, path, workflow, key, named, parent, status, holder, epoch,
       input, output, created, started, ended, crc, stop, forked_from, forked_at, forked_last, superseded_by, stopped,
       timed_from, wake, queue, priority, queue_key, dedup, hold, turn, steps
FROM run NOT INDEXED WHERE rid > ? AND workflow = ? AND script = ? AND named = 0 ORDER BY rid

-- name: children
SELECT rid, id, script, path, workflow, key, named, parent, status, holder, epoch,
       input, output, created, started, ended, crc, stop, forked_from, forked_at, forked_last, superseded_by, stopped,
       timed_from, wake, queue, priority, queue_key, dedup, hold, turn, steps
FROM run WHERE parent = ? AND workflow = ? ORDER BY rid
