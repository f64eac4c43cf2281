-- Statements about requests that are carried out once by their key. See keyed_requests.py.

-- name: forget_before
DELETE FROM keyed_request WHERE at < ?

-- name: get
SELECT key, asked, at, token, status, media, body, crc FROM keyed_request WHERE key = ?

-- name: put
INSERT OR REPLACE INTO keyed_request (key, asked, at, token, status, media, body, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: forget
DELETE FROM keyed_request WHERE key = ?
