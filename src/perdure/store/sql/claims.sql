-- name: due
SELECT rid, script, workflow FROM run INDEXED BY run_due
WHERE status = 'suspended' AND hold IS NULL AND wake IS NOT NULL AND wake <= ?1
  AND parent IS NULL AND superseded_by IS NULL
  AND (script, workflow) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?2))
ORDER BY wake, rid LIMIT ?3

-- name: executed
SELECT r.rid, r.script, r.workflow, r.holder, h.token FROM run r INDEXED BY run_running CROSS JOIN holder h ON h.hid = r.holder
WHERE r.holder IS NOT NULL AND r.status = 'running' AND r.parent IS NULL AND r.superseded_by IS NULL
ORDER BY r.rid

-- name: next_moment
SELECT min(wake) FROM (
    SELECT min(wake) AS wake FROM run INDEXED BY run_due
    WHERE status = 'suspended' AND hold IS NULL AND wake IS NOT NULL AND wake > ?1
    UNION ALL
    SELECT min(wake) FROM run INDEXED BY run_due
    WHERE status = 'queued' AND hold IS NULL AND wake IS NOT NULL AND wake > ?1
)

-- name: sleeping
SELECT count(*) FROM run INDEXED BY run_due
WHERE status = 'suspended' AND hold IS NULL AND wake IS NOT NULL AND parent IS NULL AND superseded_by IS NULL

-- name: overdue
SELECT rid FROM run INDEXED BY run_due
WHERE status IN ('suspended', 'queued') AND hold IS NULL AND wake IS NOT NULL AND wake <= ?1 AND parent IS NULL
  AND superseded_by IS NULL
LIMIT 100
