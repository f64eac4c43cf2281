-- Statements about the functions of users. See code.py.

-- name: put
INSERT OR IGNORE INTO code (digest, module, qualname, file, line, parameters, options, source, crc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: of_run
SELECT f.run, f.kind, f.name, f.module, f.qualname, f.file, f.crc, f.code, f.defaults,
    c.digest, c.module, c.qualname, c.file, c.line, c.parameters, c.options, c.source, c.crc
FROM function f LEFT JOIN code c ON c.digest = f.code WHERE f.run = ?

-- name: of_source
SELECT digest, module, qualname, file, line, parameters, options, source, crc FROM code WHERE source = ?
