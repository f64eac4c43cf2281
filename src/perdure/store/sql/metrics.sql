-- Numbers about a state file for a monitoring system. See metrics.py.

-- name: runs
-- The +: of many runs only the index over workflow and status is read, and none is looked up.
SELECT workflow, status, count(*) FROM run
WHERE rid > 0 AND +parent IS NULL AND +status IN ('done', 'cancelled') AND status <> 'running' AND status <> 'queued'
GROUP BY workflow, status
UNION ALL
SELECT workflow, status, count(*) FROM run
WHERE rid > 0 AND parent IS NULL AND status IN ('suspended', 'queued', 'failed', 'parked')
  AND status <> 'running' AND status <> 'done' AND superseded_by IS NULL
GROUP BY workflow, status
UNION ALL
SELECT workflow, status, count(*) FROM run INDEXED BY run_running
WHERE status = 'running' AND parent IS NULL AND superseded_by IS NULL GROUP BY workflow, status

-- name: oldest
SELECT workflow, min(created) FROM (
    SELECT workflow, created FROM run
    WHERE rid > 0 AND parent IS NULL AND status IN ('suspended', 'queued') AND status <> 'running' AND status <> 'done'
      AND superseded_by IS NULL
    UNION ALL
    SELECT workflow, created FROM run INDEXED BY run_running
    WHERE status = 'running' AND parent IS NULL AND superseded_by IS NULL
) GROUP BY workflow

-- name: last_success
SELECT max(ended) FROM (
    SELECT ended FROM run WHERE rid > 0 AND workflow = ? AND status = 'done' AND status <> 'running' AND status <> 'queued' AND parent IS NULL
    ORDER BY rid DESC LIMIT 32
)

-- name: letters
SELECT r.workflow, coalesce(s.name, ''), coalesce(d.error, ''), count(*)
FROM dead_letter d JOIN run r ON r.rid = d.run LEFT JOIN step s ON s.run = d.run AND s.seq = d.seq
WHERE d.status = 'parked' GROUP BY 1, 2, 3
