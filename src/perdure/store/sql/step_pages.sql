-- Records of a run a page at a time, and what was tried of them. See step_pages.py, which puts in the filters that are
-- asked for, and the columns of the records, as runs.sql and dead_letters.sql have them.

-- name: last_number
SELECT coalesce(max(seq), 0) FROM step WHERE run = ?

-- name: newest_first
:steps WHERE run = :run AND seq > :first AND seq <= :last AND kind NOT IN ('undo', 'timers') :filters ORDER BY seq DESC LIMIT :most

-- name: oldest_first
:steps WHERE run = :run AND seq > :first AND seq <= :last AND kind NOT IN ('undo', 'timers') :filters ORDER BY seq LIMIT :most

-- name: slowest_first
:steps WHERE run = :run AND kind NOT IN ('undo', 'timers') AND (ms, seq) < (:ms, :seq) :filters ORDER BY ms DESC, seq DESC LIMIT :most

-- name: only_name
AND name = :name

-- name: no_names
AND name NOT IN (SELECT value FROM json_each(:but))

-- name: only_status
AND status = :status

-- name: only_not_done
AND status <> 'done'

-- name: only_again
AND attempts > 1

-- name: only_waited
AND waits IS NOT NULL

-- name: only_cut
AND lives > 1

-- name: only_batch
AND batch = :batch

-- name: only_since
AND started >= :since

-- name: only_until
AND started < :until

-- name: only_over
AND started + ms / 1000.0 >= :over

-- name: only_slow
AND ms >= :slow

-- name: only_word
AND (instr(input, CAST(:word AS BLOB)) OR :surely :others)

-- name: surely
instr(name, :part) OR instr(label, :part) OR status NOT IN ('done', 'abandoned') OR kind = 'defer'

-- name: texts
SELECT coalesce(:surely, 0), ms, seq, input FROM step

-- name: numbered
:steps WHERE run = :run AND seq IN (SELECT value FROM json_each(:numbers))

-- name: epochs
WITH RECURSIVE lives (epoch) AS (
    SELECT min(epoch) FROM attempt WHERE run = ?1
    UNION SELECT (SELECT min(a.epoch) FROM attempt a WHERE a.run = ?1 AND a.epoch > l.epoch) FROM lives l WHERE l.epoch IS NOT NULL
)
SELECT epoch FROM lives WHERE epoch IS NOT NULL

-- name: tries
:attempts WHERE run = ? AND epoch = ? AND name = ? AND key = ? AND n = ? ORDER BY number LIMIT ?

-- name: letter
:letters WHERE run = ? AND seq = ?

-- name: ends_before
SELECT value, (SELECT started + ms / 1000.0 FROM step WHERE run = :run AND seq < value AND seq >= value - :most AND started > 0 ORDER BY seq DESC LIMIT 1) AS ended
FROM json_each(:seqs) WHERE ended IS NOT NULL

-- name: tried_calls
SELECT DISTINCT name, key, n FROM attempt WHERE run = ? AND name <> 'perdure.noted' LIMIT ?

-- name: tried_names
SELECT DISTINCT name FROM attempt WHERE run = ? AND name <> 'perdure.noted'

-- name: recorded
SELECT name, key, n FROM (SELECT name, key, n FROM step WHERE run = :run AND seq > :first AND seq <= :last)
INTERSECT SELECT name, key, n FROM attempt WHERE run = :run AND name <> 'perdure.noted'

-- name: count
SELECT count(*) FROM step
WHERE run = ?1 AND seq > ?2 AND seq <= ?3 AND kind NOT IN ('undo', 'timers') AND (?4 IS NULL OR name = ?4)
  AND name NOT IN (SELECT value FROM json_each(?5))

-- name: groups
SELECT name, kind, status, count(*), sum(attempts > 1), count(waits), count(lives), min(seq), max(seq), min(nullif(started, 0)), max(started + ms / 1000.0), sum(ms)
FROM step WHERE run = :run AND seq > :first AND seq <= :last AND kind NOT IN ('undo', 'timers')
GROUP BY name, kind, status
