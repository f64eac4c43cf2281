-- Runs that are over, removed with all that is kept of them. See pruning.py.

-- name: candidates
SELECT rid FROM run
WHERE rid > ?1 AND parent IS NULL AND status IN ('done', 'cancelled') AND holder IS NULL AND ended < ?2
  AND (?3 IS NULL OR workflow = ?3)
ORDER BY rid LIMIT ?4

-- name: links
SELECT rid, forked_from, superseded_by FROM run WHERE forked_from IS NOT NULL OR superseded_by IS NOT NULL

-- name: member
SELECT rid, id, parent, status, holder, coalesce(ended, started), superseded_by FROM run WHERE rid = ?

-- name: children
SELECT rid FROM run WHERE parent = ?

-- name: parked
SELECT count(*) FROM dead_letter WHERE run = ? AND status = 'parked'

-- name: is_needed
SELECT CASE
    WHEN ?1 = (SELECT max(rid) FROM run) THEN 'newest'
    WHEN EXISTS (SELECT 1 FROM lock WHERE run = ?1) THEN 'lock'
    WHEN EXISTS (SELECT 1 FROM wait WHERE awaited = ?1) THEN 'wait'
    WHEN EXISTS (SELECT 1 FROM dead_letter WHERE run = ?1 AND exported = 0) THEN 'export'
    WHEN EXISTS (SELECT 1 FROM dead_letter WHERE run = ?1 AND holder IS NOT NULL AND status = 'parked') THEN 'redrive'
    WHEN EXISTS (
        SELECT 1 FROM tick t WHERE t.run = ?1 AND (t.outcome IN ('started', 'waiting') OR NOT EXISTS (
            SELECT 1 FROM tick n WHERE n.schedule = t.schedule AND n.due > t.due AND n.run IS NOT NULL))) THEN 'schedule'
END

-- name: unfinished
WITH RECURSIVE unfinished (rid) AS (
    SELECT rid FROM run WHERE parent IS NULL
        AND (holder IS NOT NULL OR (status NOT IN ('done', 'cancelled') AND superseded_by IS NULL))
    UNION
    SELECT r.rid FROM unfinished u JOIN run r
        ON r.parent = u.rid OR r.rid = (SELECT forked_from FROM run WHERE rid = u.rid)
)
SELECT rid FROM unfinished

-- name: given_to
SELECT input FROM run WHERE rid = ?1 UNION ALL SELECT value FROM signal WHERE run = ?1

-- name: records_behind
SELECT seq, input, output FROM step WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?

-- name: of_id
SELECT rid FROM run WHERE id = ?

-- name: counts
SELECT (SELECT count(*) FROM step WHERE run = ?1), (SELECT count(*) FROM dead_letter WHERE run = ?1)

-- name: artifacts_of
SELECT digest FROM artifact_use WHERE run = ?

-- name: others_use
SELECT run FROM artifact_use WHERE digest = ?

-- name: drop_step
DELETE FROM step WHERE run = ?

-- name: drop_attempt
DELETE FROM attempt WHERE run = ?

-- name: drop_dead_letter
DELETE FROM dead_letter WHERE run = ?

-- name: drop_function
DELETE FROM function WHERE run = ?

-- name: drop_exempt
DELETE FROM exempt WHERE run = ?

-- name: drop_crash
DELETE FROM crash WHERE run = ?

-- name: drop_life
DELETE FROM life WHERE run = ?

-- name: drop_spend
DELETE FROM spend WHERE run = ?

-- name: drop_budget
DELETE FROM budget WHERE run = ?

-- name: drop_wait
DELETE FROM wait WHERE run = ?

-- name: drop_signal
DELETE FROM signal WHERE run = ?

-- name: drop_published
DELETE FROM published WHERE run = ?

-- name: drop_session
DELETE FROM session WHERE run = ?

-- name: drop_batch
DELETE FROM batch WHERE run = ?

-- name: drop_command_line
DELETE FROM command_line WHERE run = ?

-- name: drop_tick
DELETE FROM tick WHERE run = ?

-- name: drop_run
DELETE FROM run WHERE rid = ?
