-- name: due_of_script
SELECT rid FROM run INDEXED BY run_due
WHERE status = 'suspended' AND hold IS NULL AND wake IS NOT NULL AND wake <= ?1 AND parent IS NULL AND script = ?2
  AND superseded_by IS NULL

-- name: set_aside
SELECT rid, hold FROM run INDEXED BY run_hold WHERE hold IS NOT NULL AND hold != ?2 AND status IN ('suspended', 'queued') AND parent IS NULL AND script = ?1

-- name: due_of_no_workflow
SELECT rid, script, workflow FROM run INDEXED BY run_due
WHERE status IN ('suspended', 'queued') AND hold IS NULL AND wake IS NOT NULL AND wake <= ?1 AND parent IS NULL AND superseded_by IS NULL
  AND script IN (SELECT value FROM json_each(?2))
  AND (script, workflow) NOT IN (SELECT value ->> 0, value ->> 1 FROM json_each(?3))
UNION
SELECT rid, script, workflow FROM (
    SELECT rid, script, workflow FROM run INDEXED BY run_waiting
    WHERE status = 'queued' AND turn IS NOT NULL AND hold IS NULL ORDER BY queue, priority, turn, rid LIMIT 10000
)
WHERE script IN (SELECT value FROM json_each(?2))
  AND (script, workflow) NOT IN (SELECT value ->> 0, value ->> 1 FROM json_each(?3))
