-- Statements that make a run of another one's records. See forks.py.

-- name: source_steps
SELECT run, seq, name, key, n, status, input, output, started, ms, attempts, crc, kind, lives, keyed,
       batch, asked, waits, label, spent
FROM step
WHERE run = ?1 AND seq >= ?2 AND seq < ?3 AND (?4 OR kind <> 'undo') ORDER BY seq LIMIT 256

-- name: complete_step
UPDATE step SET status = ?, output = ?, crc = ? WHERE run = ? AND seq = ?

-- name: drop_step
DELETE FROM step WHERE run = ? AND seq = ?

-- name: next_number
SELECT coalesce(max(seq), 0) + 1 FROM step WHERE run = ?

-- name: moment
SELECT max(
    coalesce((SELECT min(started) FROM step WHERE run = ?1 AND seq >= ?2 AND started > 0), 1e18),
    coalesce((SELECT max(started + ms / 1000.0) + 0.001 FROM step WHERE run = ?1 AND seq < ?2), 0.0)
)

-- name: undoing
SELECT 1 FROM step WHERE run = ? AND kind = 'timers' AND name = 'perdure.ending' LIMIT 1

-- name: functions
SELECT run, kind, name, module, qualname, file, crc, code, defaults FROM function WHERE run = ?

-- name: add_function
INSERT INTO function (run, kind, name, module, qualname, file, crc, code, defaults)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: results
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint
FROM dead_letter WHERE run = ? AND status = 'resolved' AND result IS NOT NULL

-- name: unseen
SELECT 1 FROM dead_letter d JOIN step s ON s.run = d.run AND s.seq = d.seq
WHERE d.run = ? AND d.status = 'resolved' AND d.result IS NOT NULL AND s.status = 'dead' LIMIT 1

-- name: forks
SELECT rid, forked_at FROM run WHERE forked_from = ? ORDER BY rid

-- name: parked
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint
FROM dead_letter WHERE run = ? AND status = 'parked' ORDER BY lid

-- name: settled_letters
SELECT lid, run, seq, status, created, changed, redriven, holder, input, result, exported, crc,
       error, fingerprint
FROM dead_letter
WHERE run = ?1 AND seq > 0 AND seq < ?2
  AND (status IN ('resolved', 'dropped', 'evicted') OR (status = 'superseded' AND input IS NOT NULL))
  AND NOT EXISTS (SELECT 1 FROM dead_letter d WHERE d.run = ?3 AND d.seq = dead_letter.seq)
ORDER BY lid

-- name: letter_attempts
SELECT run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by
FROM attempt
WHERE run = ?2 AND (name, key, n) IN (
    SELECT s.name, s.key, s.n % 4294967296 FROM dead_letter d JOIN step s ON s.run = d.run AND s.seq = d.seq WHERE d.run = ?1
)

-- name: add_attempt
INSERT OR IGNORE INTO attempt (run, epoch, name, key, n, number, counted, input, error, started, ms, crc, verdict,
       delay, delayed_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: child
SELECT rid FROM run WHERE id = ?

-- name: children
SELECT rid FROM run WHERE parent = ? ORDER BY rid

-- name: undoable
WITH RECURSIVE family (rid) AS (SELECT ?1 UNION SELECT r.rid FROM run r JOIN family f ON r.parent = f.rid)
SELECT count(*) FROM family f JOIN step s ON s.run = f.rid WHERE s.kind = 'undo' AND s.kind <> 'step'
