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

-- name: once_elsewhere
SELECT rid, id, script, path, workflow, key, named, parent, status, holder, epoch,
       input, output, created, started, ended, crc, stop, forked_from, forked_at, forked_last, superseded_by, stopped,
       timed_from, wake, queue, priority, queue_key, dedup, hold, turn, steps
FROM run
WHERE workflow = ?1 AND script <> ?2 AND key = ?3
  AND named = 0 AND status IN ('done', 'running', 'failed', 'suspended', 'queued') AND superseded_by IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM run WHERE workflow = ?1 AND script = ?2 AND key = ?3
      AND named = 0 AND status IN ('done', 'running', 'failed', 'suspended', 'queued') AND superseded_by IS NULL)
ORDER BY status = 'done' DESC, rid DESC LIMIT 50

-- name: of_dedup_elsewhere
SELECT rid, id, script, path, workflow, key, named, parent, status, holder, epoch,
       input, output, created, started, ended, crc, stop, forked_from, forked_at, forked_last, superseded_by, stopped,
       timed_from, wake, queue, priority, queue_key, dedup, hold, turn, steps
FROM run
WHERE workflow = ?1 AND script <> ?2 AND dedup = ?3 AND status IN ('queued', 'running', 'suspended')
  AND NOT EXISTS (
    SELECT 1 FROM run WHERE workflow = ?1 AND script = ?2 AND dedup = ?3 AND status IN ('queued', 'running', 'suspended'))
ORDER BY rid DESC LIMIT 50
