-- name: open
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT w.run, w.name, w.key, w.n, w.position, w.event, w.topic, w.awaited, w.began, w.due, w.crc
FROM family f JOIN wait w ON w.run = f.rid JOIN run r ON r.rid = f.rid
WHERE w.event = 'perdure.approval' AND r.status NOT IN ('failed', 'parked') ORDER BY w.began

-- name: asked
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT s.run, s.seq, s.name, s.key, s.n, s.status, s.input, s.output, s.started, s.ms, s.attempts, s.crc, s.kind, s.lives, s.keyed
FROM family f JOIN step s ON s.run = f.rid
WHERE s.name IN ('perdure.approval.ask', 'perdure.approval.aask') AND s.kind = 'builtin' AND s.status = 'done' ORDER BY s.run DESC, s.seq DESC

-- name: closed
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT s.started + s.ms / 1000.0 FROM family f JOIN step s ON s.run = f.rid
WHERE s.name = 'perdure.approval' AND s.kind = 'builtin' AND s.key = ?2 LIMIT 1

-- name: asking
WITH RECURSIVE up (rid, parent, status) AS (
    SELECT r.rid, r.parent, r.status FROM wait w JOIN run r ON r.rid = w.run WHERE w.event = 'perdure.approval'
    UNION SELECT r.rid, r.parent, r.status FROM up u JOIN run r ON r.rid = u.parent
) SELECT rid FROM up WHERE parent IS NULL AND status = 'suspended' ORDER BY rid LIMIT ?1
