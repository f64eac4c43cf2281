-- name: undone
SELECT EXISTS (SELECT 1 FROM step WHERE run = ?1 AND kind = 'undone' AND kind <> 'step')
    OR EXISTS (SELECT 1 FROM run c JOIN step s ON s.run = c.rid WHERE c.parent = ?1 AND s.kind = 'undone' AND s.kind <> 'step')

-- name: begun
SELECT seq FROM step INDEXED BY step_other
WHERE run = ?1 AND kind = 'builtin' AND kind <> 'step' AND (name GLOB 'perdure.call:*' OR name GLOB 'perdure.enqueue:*')
ORDER BY seq DESC LIMIT ?2

-- name: shared
SELECT r.id, s.name FROM (SELECT seq, name, key, output FROM step WHERE run = ?1 ORDER BY seq DESC LIMIT 1000) s
JOIN run r ON r.key = s.key AND (r.named = 0 OR r.queue IS NULL) AND r.workflow = s.name AND r.output = s.output
WHERE r.parent IS NULL AND r.named = 0 AND r.status = 'done'
    AND r.script = (SELECT script FROM run WHERE rid = ?1)
    AND NOT EXISTS (SELECT 1 FROM run c WHERE c.key = r.key AND (c.named = 0 OR c.queue IS NULL) AND c.workflow = r.workflow AND +c.parent = ?1)
ORDER BY s.seq DESC LIMIT ?2
