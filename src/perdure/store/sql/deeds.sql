-- Statements about what people have had done. See deeds.py.

-- name: next_number
SELECT max(coalesce((SELECT max(did) FROM deed), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'deed'), 0)) + 1

-- name: add
INSERT INTO deed (did, at, who, via, what, target, detail, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: before
SELECT did, at, who, via, what, target, detail, crc FROM deed WHERE (?1 IS NULL OR did < ?1) ORDER BY did DESC LIMIT ?2
