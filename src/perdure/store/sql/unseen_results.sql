-- Statements about results that a run has not seen. See unseen_results.py.

-- name: unseen
WITH RECURSIVE family (rid) AS (
    SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid WHERE r.superseded_by IS NULL
)
SELECT d.run, d.seq FROM family f JOIN dead_letter d ON d.run = f.rid
JOIN step s ON s.run = d.run AND s.seq = d.seq
WHERE d.status = 'resolved' AND d.result IS NOT NULL AND s.status = 'dead' AND s.kind = 'step' ORDER BY d.run, d.seq
