-- name: next_holder
SELECT max(coalesce((SELECT max(hid) FROM holder), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'holder'), 0)) + 1

-- name: put_holder
INSERT OR REPLACE INTO holder (hid, token, pid, host, started, gone, crc) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: find_token
SELECT hid FROM holder WHERE token = ?

-- name: get_holder
SELECT hid, token, pid, host, started, gone, crc FROM holder WHERE hid = ?

-- name: find_unfinished
SELECT rid FROM run
WHERE workflow = ? AND key = ? AND script = ?
  AND named = 0 AND parent IS NULL AND (status = 'running' OR status = 'failed' OR status = 'suspended') AND superseded_by IS NULL
ORDER BY rid DESC LIMIT 1

-- name: unfinished_of_others
SELECT rid, id, script, path, workflow, key, named, parent, status, holder, epoch,
       input, output, created, started, ended, crc, stop, forked_from, forked_at, forked_last, superseded_by, stopped,
       timed_from, wake, queue, priority, queue_key, dedup, hold, turn, steps
FROM run INDEXED BY run_unfinished
WHERE workflow <> ? AND key = ? AND script = ?
  AND named = 0 AND parent IS NULL AND (status = 'running' OR status = 'failed' OR status = 'suspended') AND superseded_by IS NULL
ORDER BY rid DESC LIMIT 50

-- name: same_inputs
SELECT rid, id, script, path, workflow, key, named, parent, status, holder, epoch,
       input, output, created, started, ended, crc, stop, forked_from, forked_at, forked_last, superseded_by, stopped,
       timed_from, wake, queue, priority, queue_key, dedup, hold, turn, steps
FROM run WHERE key = ? AND (named = 0 OR queue IS NULL) ORDER BY rid DESC LIMIT 4

-- name: top
WITH RECURSIVE line (rid, parent) AS (
    SELECT rid, parent FROM run WHERE rid = ? UNION SELECT r.rid, r.parent FROM run r JOIN line l ON r.rid = l.parent)
SELECT r.id FROM line l JOIN run r ON r.rid = l.rid WHERE l.parent IS NULL

-- name: top_by_id
SELECT id FROM run WHERE id = ?1 OR substr(?1, 1, length(id) + 1) = id || '.' ORDER BY length(id) LIMIT 1

-- name: find_once
SELECT rid FROM run
WHERE workflow = ? AND key = ? AND script = ?
  AND named = 0 AND status IN ('done', 'running', 'failed', 'suspended', 'queued') AND superseded_by IS NULL
ORDER BY status = 'done' DESC, rid DESC LIMIT 1

-- name: unfinished
SELECT rid, id, script, path, workflow, key, named, parent, status, holder, epoch,
       input, output, created, started, ended, crc, stop, forked_from, forked_at, forked_last, superseded_by, stopped,
       timed_from, wake, queue, priority, queue_key, dedup, hold, turn, steps
FROM run WHERE workflow = ? AND named = 0 AND parent IS NULL AND (status = 'running' OR status = 'failed' OR status = 'suspended')
ORDER BY rid DESC LIMIT 50

-- name: add_function
INSERT INTO function (run, kind, name, module, qualname, file, crc, code, defaults)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 WHERE (SELECT holder FROM run WHERE rid = ?1) IS NOT NULL
ON CONFLICT (run, kind, name) DO UPDATE
SET module = excluded.module, qualname = excluded.qualname, file = excluded.file, crc = excluded.crc,
    code = excluded.code, defaults = excluded.defaults

-- name: get_function
SELECT run, kind, name, module, qualname, file, crc, code, defaults FROM function WHERE run = ? AND kind = ? AND name = ?

-- name: find_id
SELECT rid FROM run WHERE id = ?

-- name: awaited_is_due
SELECT 1 FROM wait w JOIN run r ON r.rid = w.awaited WHERE w.run = ?1 AND r.status = 'suspended' AND r.wake <= ?2 LIMIT 1

-- name: get_run
SELECT rid, id, script, path, workflow, key, named, parent, status, holder, epoch,
       input, output, created, started, ended, crc, stop, forked_from, forked_at, forked_last, superseded_by, stopped,
       timed_from, wake, queue, priority, queue_key, dedup, hold, turn, steps
FROM run WHERE rid = ?

-- name: waits_in_queue
SELECT 1 FROM run WHERE status = 'queued' AND turn IS NOT NULL AND queue = ? LIMIT 1

-- name: next_run
SELECT coalesce(max(rid), 0) + 1 FROM run

-- name: add_run
INSERT INTO run (rid, id, script, path, workflow, key, named, parent, status, holder, epoch,
       input, output, created, started, ended, crc, stop, forked_from, forked_at, forked_last, superseded_by, stopped,
       timed_from, wake, queue, priority, queue_key, dedup, hold, turn, steps)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_run
-- The columns are those that change.
UPDATE run SET :columns, crc = ? WHERE rid = ?

-- name: beside
SELECT (SELECT crc FROM run WHERE rid = ?1),
       EXISTS (SELECT 1 FROM crash WHERE run = ?1),
       EXISTS (SELECT 1 FROM wait WHERE run = ?1) OR EXISTS (SELECT 1 FROM wait WHERE awaited = ?1),
       EXISTS (SELECT 1 FROM dead_letter WHERE run = ?1 AND seq = 0),
       EXISTS (SELECT 1 FROM tick t INDEXED BY tick_run CROSS JOIN tick w INDEXED BY tick_open ON w.schedule = t.schedule
               WHERE t.run = ?1 AND w.outcome IN ('started', 'waiting') AND w.outcome = 'waiting'),
       (SELECT count(*) FROM step WHERE run = ?1)
     - (SELECT count(*) FROM step WHERE run = ?1 AND kind <> 'step' AND kind IN ('undo', 'timers'))

-- name: forget_crashes
DELETE FROM crash WHERE run = ?

-- name: stopping
WITH RECURSIVE up (rid, parent, stop) AS (
    SELECT rid, parent, stop FROM run WHERE rid = ?
    UNION SELECT r.rid, r.parent, r.stop FROM run r JOIN up ON r.rid = up.parent
)
SELECT count(stop) FROM up

-- name: drop_publishings
DELETE FROM step
WHERE run = ? AND seq BETWEEN ? AND ? AND kind = 'builtin' AND name IN ('perdure.publish', 'perdure.aio.publish')

-- name: widen_exempt
DELETE FROM exempt WHERE run = ? AND first >= ? AND last <= ?

-- name: exempt
INSERT OR IGNORE INTO exempt (run, first, last, crc) VALUES (?, ?, ?, ?)

-- name: last_number
SELECT max(seq) FROM step WHERE run = ?

-- name: exempted
SELECT run, first, last, crc FROM exempt WHERE run = ?

-- name: list_runs
SELECT r.rid, r.id, r.script, r.path, r.workflow, r.key, r.named, r.parent, r.status, r.holder, r.epoch,
       r.input, r.output, r.created, r.started, r.ended, r.crc, r.stop,
       r.forked_from, r.forked_at, r.forked_last, r.superseded_by, r.stopped, r.timed_from,
       r.wake, r.queue, r.priority, r.queue_key, r.dedup, r.hold, r.turn, r.steps
FROM run r
WHERE :filter (?2 IS NULL OR r.workflow = ?2) AND (?3 OR r.parent IS NULL)
ORDER BY r.rid DESC LIMIT ?4

-- name: of_status
r.rid > 0 AND r.status = ?1 AND r.status <> 'running' AND r.status <> 'done' AND

-- name: list_running
:list INDEXED BY run_running WHERE r.status = 'running' AND (?2 IS NULL OR r.workflow = ?2) AND (?3 OR r.parent IS NULL)
ORDER BY r.rid DESC LIMIT ?4

-- name: of_any_status
(?1 IS NULL OR r.status = ?1) AND

-- name: children
SELECT id FROM run WHERE parent = ? ORDER BY rid

-- name: count_children
SELECT count(*) FROM run WHERE parent = ?

-- name: family
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT rid FROM family ORDER BY rid

-- name: unended
SELECT r.rid FROM run r
WHERE r.parent = ? AND r.status IN ('running', 'failed', 'suspended') AND r.superseded_by IS NULL AND (
    r.status <> 'failed'
    OR EXISTS (SELECT 1 FROM step s WHERE s.run = r.rid AND s.kind IN ('defer', 'undo'))
    OR EXISTS (SELECT 1 FROM run c WHERE c.parent = r.rid)
)
ORDER BY r.rid DESC

-- name: undoing
SELECT r.rid FROM run r
WHERE r.parent = ? AND r.status = 'running'
    AND EXISTS (SELECT 1 FROM step s WHERE s.run = r.rid AND s.kind = 'timers' AND s.kind <> 'step' AND s.name = ?)
ORDER BY r.rid DESC

-- name: undoable
WITH RECURSIVE below (child, rid) AS (
    SELECT rid, rid FROM run
    WHERE parent = ? AND status IN ('done', 'running', 'suspended') AND superseded_by IS NULL
    UNION
    SELECT b.child, r.rid FROM run r JOIN below b ON r.parent = b.rid WHERE r.status IN ('done', 'running', 'suspended')
)
SELECT DISTINCT b.child FROM below b WHERE EXISTS (SELECT 1 FROM step s WHERE s.run = b.rid AND s.kind = 'undo')
ORDER BY b.child

-- name: add_step
INSERT INTO step (run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_whole_step
INSERT INTO step (run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind, lives, keyed,
       batch, asked, waits, label, spent)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_end
UPDATE step SET status = ?, output = ?, crc = ? WHERE run = ? AND seq = ?

-- name: drop_step
DELETE FROM step WHERE run = ? AND seq = ?

-- name: steps_from
SELECT run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind, lives, keyed,
       batch, asked, waits, label, spent
FROM step
WHERE run = ? AND seq >= ? ORDER BY seq LIMIT ?

-- name: plain_steps_from
SELECT run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind,
       coalesce(lives, keyed, batch, asked, waits, label, spent)
FROM step
WHERE run = ? AND seq >= ? ORDER BY seq LIMIT ?

-- name: last_step
SELECT run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind, lives, keyed,
       batch, asked, waits, label, spent
FROM step
WHERE run = ? AND kind NOT IN ('undo', 'timers') ORDER BY seq DESC LIMIT 1

-- name: count_steps
SELECT status, count(*) FROM step WHERE run = ? AND status <> 'done' GROUP BY status

-- name: all_steps
SELECT (SELECT count(*) FROM step WHERE run = ?1)
     - (SELECT count(*) FROM step WHERE run = ?1 AND kind <> 'step' AND kind IN ('undo', 'timers'))

-- name: add_attempt
INSERT INTO attempt (run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_note
INSERT OR REPLACE INTO attempt (run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: mark_step
UPDATE step SET lives = ?, keyed = ?, crc = ? WHERE run = ? AND seq = ?

-- name: attempts_of_epoch
SELECT run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by
FROM attempt
WHERE run = ? AND epoch = ? AND name <> 'perdure.noted'

-- name: last_failure
WITH RECURSIVE family(rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT a.run, a.epoch, a.name, a.key, a.n, a.number, a.counted, a.input, a.error, a.started, a.ms, a.crc, a.verdict,
       a.delay, a.delayed_by
FROM attempt a JOIN family f ON a.run = f.rid AND a.name <> 'perdure.noted' ORDER BY a.started DESC LIMIT 1

-- name: last_attempt
SELECT run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by
FROM attempt
WHERE run = ? AND name <> 'perdure.noted' ORDER BY started DESC LIMIT 1

-- name: attempts_of_run
SELECT run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by
FROM attempt
WHERE run = ? AND name <> 'perdure.noted' ORDER BY epoch, started, number

-- name: notes
SELECT run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by
FROM attempt
WHERE run = ? AND name = 'perdure.noted' ORDER BY started

-- name: attempts_of_step
SELECT run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by
FROM attempt
WHERE run = ? AND name = ?

-- name: attempts_of_call
WITH RECURSIVE lives (epoch) AS (
    SELECT min(epoch) FROM attempt WHERE run = ?1
    UNION SELECT (SELECT min(a.epoch) FROM attempt a WHERE a.run = ?1 AND a.epoch > l.epoch) FROM lives l WHERE l.epoch IS NOT NULL
)
SELECT run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by
FROM attempt
WHERE run = ?1 AND epoch IN (SELECT epoch FROM lives) AND name = ?2 AND key = ?3 AND n = ?4 ORDER BY epoch, number
