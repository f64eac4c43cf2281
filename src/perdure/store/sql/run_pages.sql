-- A page of runs, and what is shown of them. See run_pages.py, which puts in the filters that are
-- asked for, and the columns of the records, as runs.sql has them.

-- name: last_run
SELECT coalesce(max(rid), 0) FROM run

-- name: page
:runs :index WHERE rid > 0 AND rid < :before :filters ORDER BY rid DESC LIMIT :most

-- name: count
SELECT count(*) FROM (SELECT 1 FROM run :index WHERE rid > 0 :filters LIMIT :most)

-- name: in_window
AND rid >= :first

-- name: only_waiting
AND status = :status AND status <> 'running' AND status <> 'done'

-- name: only_running
AND status = 'running'

-- name: only_begun
AND status = :status AND status <> 'running' AND status <> 'queued'

-- name: only_workflow
AND workflow = :workflow

-- name: only_roots
AND parent IS NULL

-- name: only_children
AND parent = :parent

-- name: only_superseded
AND superseded_by IS NOT NULL AND status NOT IN ('done', 'cancelled')

-- name: not_superseded
AND (superseded_by IS NULL OR status IN ('done', 'cancelled'))

-- name: only_listed
AND rid IN (SELECT value FROM json_each(:listed))

-- name: with_letters
WITH RECURSIVE up (rid) AS (
    SELECT run FROM dead_letter WHERE status = 'parked' AND seq > 0
    UNION SELECT r.parent FROM up JOIN run r ON r.rid = up.rid WHERE r.parent IS NOT NULL
)
SELECT rid FROM up WHERE rid < ? ORDER BY rid DESC

-- name: letters_of_families
WITH RECURSIVE family (root, rid) AS (
    SELECT value, value FROM json_each(?)
    UNION SELECT f.root, r.rid FROM family f JOIN run r ON r.parent = f.rid
)
SELECT f.root, count(*) FROM family f JOIN dead_letter d ON d.run = f.rid
WHERE d.status = 'parked' AND d.seq > 0 GROUP BY f.root

-- name: count_steps
SELECT count(*) FROM (SELECT 1 FROM step WHERE run = ? AND kind NOT IN ('undo', 'timers') LIMIT ?)

-- name: last_steps
:steps WHERE run = ? AND kind NOT IN ('undo', 'timers') ORDER BY seq DESC LIMIT ?

-- name: newest_attempt
SELECT * FROM (
    :attempts WHERE run = ? AND name <> 'perdure.noted' ORDER BY epoch DESC, name DESC, key DESC, n DESC, number DESC LIMIT ?
) ORDER BY started DESC LIMIT 1

-- name: ids
SELECT rid, id FROM run WHERE rid IN (SELECT value FROM json_each(?))
