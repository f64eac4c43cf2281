-- name: ids_like
SELECT id, parent IS NOT NULL FROM run WHERE id >= ?1 AND id < ?1 || char(1114111)
ORDER BY id = ?1 DESC, parent IS NULL DESC, rid DESC LIMIT ?2

-- name: has
SELECT EXISTS (SELECT 1 FROM run WHERE id = ?)

-- name: newest
SELECT rid, id, named OR queue IS NOT NULL FROM run WHERE parent IS NULL ORDER BY started DESC, rid DESC LIMIT ?

-- name: called
SELECT EXISTS (
    SELECT 1 FROM run r
    JOIN run c ON c.rid IN (SELECT rid FROM (SELECT rid FROM run ORDER BY rid DESC LIMIT ?4) UNION SELECT rid FROM run WHERE id = ?3)
    JOIN step s INDEXED BY step_other ON s.run = c.rid
    WHERE r.rid = ?1 AND s.kind = 'builtin' AND s.kind <> 'step'
        AND s.name IN ('perdure.call:' || r.workflow, 'perdure.enqueue:' || r.workflow) AND s.output = ?2
        AND CASE WHEN r.queue IS NULL THEN c.started <= r.started AND coalesce(c.ended >= r.started, 1)
                 ELSE c.created <= r.created AND coalesce(c.ended >= r.created, 1) END
)

-- name: totals
SELECT 'all', (SELECT count(*) FROM run WHERE parent IS NULL AND rid > 0) + (SELECT count(*) FROM run WHERE parent IS NOT NULL)
UNION ALL SELECT status, count(*) FROM run WHERE status = 'running' GROUP BY status
UNION ALL SELECT status, count(*) FROM run WHERE rid > 0 AND status <> 'running' AND status <> 'done' GROUP BY status

-- name: holders
SELECT h.hid, h.token, h.pid, h.host, h.started, h.gone, h.crc, count(r.rid)
FROM holder h LEFT JOIN run r ON r.holder = h.hid AND r.status = 'running' GROUP BY h.hid ORDER BY h.hid

-- name: may_have_letters
SELECT EXISTS (SELECT 1 FROM dead_letter WHERE run = ?1) OR EXISTS (SELECT 1 FROM run WHERE parent = ?1)

-- name: dead_letters
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT count(*) FROM dead_letter d JOIN family f ON d.run = f.rid WHERE d.status = 'parked' AND d.seq > 0

-- name: letters_of_clean_ups
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT d.lid FROM family f JOIN dead_letter d ON d.run = f.rid JOIN step s ON s.run = d.run AND s.seq = d.seq
WHERE d.status = 'parked' AND s.kind <> 'step' AND s.kind IN ('deferred', 'undone') ORDER BY d.lid

-- name: kept_undos
WITH RECURSIVE below (child, rid) AS (
    SELECT id, rid FROM run WHERE parent = ? AND status = 'done'
    UNION
    SELECT b.child, r.rid FROM run r JOIN below b ON r.parent = b.rid WHERE r.status IN ('done', 'running', 'suspended')
)
SELECT b.child, count(*) FROM below b JOIN step s ON s.run = b.rid WHERE s.kind = 'undo' AND s.kind <> 'step' GROUP BY b.child

-- name: stray_letters
SELECT run, seq FROM dead_letter d
WHERE NOT EXISTS (SELECT 1 FROM run r WHERE r.rid = d.run)
   OR (seq > 0 AND NOT EXISTS (SELECT 1 FROM step s WHERE s.run = d.run AND s.seq = d.seq))

-- name: runs_after
SELECT rid, id, script, path, workflow, key, named, parent, status, holder, epoch,
       input, output, created, started, ended, crc, stop, forked_from, forked_at, forked_last, superseded_by, stopped,
       timed_from, wake, queue, priority, queue_key, dedup, hold, turn, steps
FROM run WHERE rid > ? ORDER BY rid LIMIT ?

-- name: steps_after
SELECT run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind, lives, keyed,
       batch, asked, waits, label, spent
FROM step
WHERE (run, seq) > (?, ?) ORDER BY run, seq LIMIT ?

-- name: attempts_after
SELECT run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by
FROM attempt
WHERE (run, epoch, name, key, n, number) > (?, ?, ?, ?, ?, ?) ORDER BY run, epoch, name, key, n, number LIMIT ?

-- name: letters_after
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint
FROM dead_letter
WHERE lid > ? ORDER BY lid LIMIT ?

-- name: functions
SELECT run, kind, name, module, qualname, file, crc, code, defaults FROM function ORDER BY run, kind, name

-- name: all_holder
SELECT hid, token, pid, host, started, gone, crc FROM holder ORDER BY hid

-- name: all_lock
SELECT name, holder, fence, since, run, crc FROM lock ORDER BY name

-- name: all_crash
SELECT run, name, key, n, token, attempt, started, died, cause, crc FROM crash ORDER BY run, name, key, n, token

-- name: all_keyed_request
SELECT key, asked, at, token, status, media, body, crc FROM keyed_request ORDER BY key

-- name: command_line_rows_after
SELECT run, line, crc FROM command_line WHERE run > ? ORDER BY run LIMIT ?

-- name: all_workflow_default
SELECT script, workflow, defaults, crc FROM workflow_default ORDER BY script, workflow

-- name: all_life
SELECT run, name, key, n, token, attempt, started, ended, cause, crc FROM life ORDER BY run, name, key, n, token

-- name: all_exempt
SELECT run, first, last, crc FROM exempt ORDER BY run, first, last

-- name: strays
SELECT 'holder of run', r.rid FROM run r WHERE r.holder IS NOT NULL AND NOT EXISTS (SELECT 1 FROM holder h WHERE h.hid = r.holder)
UNION ALL
SELECT 'parent of run', r.rid FROM run r WHERE r.parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM run p WHERE p.rid = r.parent)
UNION ALL
SELECT 'steps of run', s.run FROM (SELECT DISTINCT run FROM step) s WHERE NOT EXISTS (SELECT 1 FROM run r WHERE r.rid = s.run)

-- name: budgets
SELECT run, usd, tokens, calls, ms, crc FROM budget

-- name: artifacts
SELECT run, digest, crc FROM artifact_use

-- name: all_queue
SELECT name, concurrency, per_key, rate, seconds, paused, declared, free, crc FROM queue ORDER BY name

-- name: all_queue_turn
SELECT queue, priority, turn, crc FROM queue_turn ORDER BY queue, priority

-- name: all_schedule
SELECT name, script, path, workflow, spec, tz, overlap, missed, within, spread, queue, key, input, since, last, due,
       seen, status, origin, declared, crc
FROM schedule ORDER BY name

-- name: wait_rows_after
SELECT run, name, key, n, position, event, topic, awaited, began, due, crc FROM wait
WHERE (run, name, key, n, position) > (?, ?, ?, ?, ?) ORDER BY run, name, key, n, position LIMIT ?

-- name: signal_rows_after
SELECT sid, run, event, topic, id, value, stamp, status, seq, reason, crc FROM signal WHERE sid > ? ORDER BY sid LIMIT ?

-- name: tick_rows_after
SELECT schedule, due, last, ticks, outcome, reason, run, tz, missed, previous, made, crc FROM tick
WHERE (schedule, due) > (?, ?) ORDER BY schedule, due LIMIT ?

-- name: published_value_rows_after
SELECT run, name, value, stamp, crc FROM published WHERE (run, name) > (?, ?) ORDER BY run, name LIMIT ?

-- name: session_rows_after
SELECT run, number, holder, began, ended, outcome, cause, version, script, memory, crc FROM session
WHERE (run, number) > (?, ?) ORDER BY run, number LIMIT ?

-- name: batch_rows_after
SELECT run, number, step, total, concurrency, began, ended, crc FROM batch
WHERE (run, number) > (?, ?) ORDER BY run, number LIMIT ?

-- name: deed_rows_after
SELECT did, at, who, via, what, target, detail, crc FROM deed WHERE did > ? ORDER BY did LIMIT ?

-- name: all_code
SELECT digest, module, qualname, file, line, parameters, options, source, crc FROM code ORDER BY digest
