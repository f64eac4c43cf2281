-- Statements about the functions of users. See code.py.

-- name: put
INSERT OR IGNORE INTO code (digest, module, qualname, file, line, parameters, options, source, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: of_run
SELECT f.kind, f.name, c.digest, c.module, c.qualname, c.file, c.line, c.parameters, c.options, c.source, c.crc
FROM function f LEFT JOIN code c ON c.digest = f.code WHERE f.run = ? AND f.code IS NOT NULL

-- name: of_source
SELECT digest, module, qualname, file, line, parameters, options, source, crc FROM code WHERE source = ?
