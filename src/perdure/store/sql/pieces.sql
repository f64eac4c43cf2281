-- Statements about the pieces of large payloads. See pieces.py.

-- name: has
SELECT 1 FROM piece WHERE digest = ?

-- name: add
INSERT OR IGNORE INTO piece (digest, data) VALUES (?, ?)

-- name: use
INSERT OR IGNORE INTO piece_use (run, digest, crc) VALUES (?, ?, ?)

-- name: get
SELECT data FROM piece WHERE digest = ?

-- name: used_by
SELECT digest FROM piece_use WHERE run = ?

-- name: release
DELETE FROM piece_use WHERE run = ?

-- name: drop_unused
DELETE FROM piece WHERE digest = ?1 AND NOT EXISTS (SELECT 1 FROM piece_use WHERE digest = ?1)

-- name: walk
SELECT digest, data FROM piece WHERE digest > ? ORDER BY digest LIMIT ?

-- name: uses_after
SELECT run, digest, crc FROM piece_use WHERE (run, digest) > (?, ?) ORDER BY run, digest LIMIT ?

-- name: use_artifact
INSERT OR IGNORE INTO artifact_use (run, digest, crc) VALUES (?, ?, ?)

-- name: artifacts_of
SELECT digest FROM artifact_use WHERE run = ?

-- name: release_artifacts
DELETE FROM artifact_use WHERE run = ?

-- name: artifact_used
SELECT 1 FROM artifact_use WHERE digest = ? LIMIT 1
