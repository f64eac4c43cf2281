-- name: get_queue
SELECT name, concurrency, per_key, rate, seconds, paused, declared, free, crc FROM queue WHERE name = ?

-- name: put_queue
INSERT OR REPLACE INTO queue (name, concurrency, per_key, rate, seconds, paused, declared, free, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: all_queues
SELECT name, concurrency, per_key, rate, seconds, paused, declared, free, crc FROM queue ORDER BY name

-- name: get_turn
SELECT queue, priority, turn, crc FROM queue_turn WHERE queue = ? AND priority = ?

-- name: before_adding
SELECT (SELECT coalesce(max(rid), 0) + 1 FROM run), (SELECT rid FROM run WHERE id = ?1),
       t.queue, t.priority, t.turn, t.crc
FROM (SELECT 1) LEFT JOIN queue_turn t ON t.queue = ?2 AND t.priority = ?3

-- name: put_turn
INSERT OR REPLACE INTO queue_turn (queue, priority, turn, crc) VALUES (?, ?, ?, ?)

-- name: last_turn_of_key
SELECT max(turn) FROM run
WHERE queue = ? AND queue_key = ? AND priority = ? AND status = 'queued' AND turn IS NOT NULL

-- name: find_dedup
SELECT rid FROM run WHERE workflow = ? AND script = ? AND dedup = ? AND status IN ('queued', 'running', 'suspended')
ORDER BY rid LIMIT 1

-- name: not_in_turn
SELECT rid FROM run
WHERE status = 'queued' AND turn IS NULL AND hold IS NULL AND (wake IS NULL OR wake <= ?)
ORDER BY wake, rid LIMIT ?

-- name: next_waiting_queue
SELECT queue FROM run WHERE status = 'queued' AND turn IS NOT NULL AND queue > ? ORDER BY queue LIMIT 1

-- name: waiting
SELECT priority, turn, rid, script, workflow, queue_key, hold FROM run
WHERE status = 'queued' AND turn IS NOT NULL AND queue = ?1 AND (priority, turn, rid) > (?2, ?3, ?4)
ORDER BY priority, turn, rid LIMIT ?5

-- name: executing
WITH RECURSIVE process (hid) AS (
    SELECT min(holder) FROM run WHERE status = 'running'
    UNION ALL
    SELECT (SELECT min(holder) FROM run WHERE status = 'running' AND holder > hid) FROM process WHERE hid IS NOT NULL
)
SELECT r.holder, r.queue_key, count(*) FROM process p CROSS JOIN run r ON r.holder = p.hid
WHERE r.queue = ?1 AND r.status = 'running' GROUP BY r.holder, r.queue_key

-- name: before
SELECT count(*) FROM (
    SELECT 1 FROM run
    WHERE status = 'queued' AND turn IS NOT NULL AND queue = ?1 AND (priority, turn, rid) < (?2, ?3, ?4) LIMIT ?5
)

-- name: counts
SELECT queue, 1, turn IS NULL AND (wake IS NOT NULL OR hold IS NOT NULL), count(*) FROM run
WHERE rid > 0 AND status = 'queued' AND status <> 'running' AND status <> 'done' AND queue IS NOT NULL GROUP BY 1, 3
UNION ALL
SELECT queue, 0, 0, count(*) FROM run INDEXED BY run_running WHERE status = 'running' AND queue IS NOT NULL GROUP BY 1

-- name: queued_in
SELECT rid FROM run WHERE rid > 0 AND status = 'queued' AND status <> 'running' AND status <> 'done' AND queue = ? ORDER BY rid LIMIT ?

-- name: waiting_since
SELECT queue, script, workflow, min(path), min(coalesce(wake, started)), count(*) FROM run
WHERE rid > 0 AND status = 'queued' AND status <> 'running' AND status <> 'done' AND hold IS NULL AND coalesce(wake, started) <= ?1
GROUP BY queue, script, workflow LIMIT 100
