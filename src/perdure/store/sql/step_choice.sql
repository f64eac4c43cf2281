-- Numbers of a run's records that fit a choice, and how its calls lie in time. See step_choice.py, which puts in the filters that are asked for.

-- name: numbers
SELECT seq FROM step WHERE run = :run AND seq > :after AND kind NOT IN ('undo', 'timers') :filters ORDER BY seq LIMIT :most

-- name: retried
AND attempts > 1

-- name: with_status
AND status = :status

-- name: named
AND name = :name

-- name: between
AND started <= :until AND started + ms / 1000.0 >= :since

-- name: with_text
AND (instr(name, :text) OR instr(input, CAST(:text AS BLOB)) OR (status <> 'done' AND instr(output, CAST(:text AS BLOB))))

-- name: last
SELECT coalesce(max(seq), 0), count(*) FROM step WHERE run = ?

-- name: extent
SELECT min(started), max(started + ms / 1000.0) FROM step WHERE run = ?

-- name: bins
SELECT max(seq), bin, status, count(*), sum(again) FROM (
    SELECT seq, status, attempts > 1 AS again, CAST((started - :origin) / :width AS INTEGER) AS bin
    FROM step WHERE run = :run AND seq > :after ORDER BY seq LIMIT :most
) GROUP BY bin, status
