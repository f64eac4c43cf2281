-- How the calls of a run lie in time, counted. See timeline.py.

-- name: total
SELECT coalesce(max(seq), 0), count(*) FROM step WHERE run = ?

-- name: not_done
SELECT status, count(*) FROM step WHERE run = ? AND status <> 'done' GROUP BY status ORDER BY status

-- name: extent
SELECT min(started), max(started + ms / 1000.0) FROM step WHERE run = ?

-- name: bins
SELECT max(seq), bin, status, count(*), sum(again) FROM (
    SELECT seq, status, attempts > 1 AS again, CAST((started - :origin) / :width AS INTEGER) - (started < :origin) AS bin
    FROM step WHERE run = :run AND seq > :after ORDER BY seq LIMIT :most
) GROUP BY bin, status

-- name: within
SELECT max(seq), sum(started < :until AND started + ms / 1000.0 >= :since) FROM (
    SELECT seq, started, ms FROM step WHERE run = :run AND seq > :after ORDER BY seq LIMIT :most
)
