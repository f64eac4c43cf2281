-- Statements about the defaults of workflows. See workflow_defaults.py.

-- name: get
SELECT script, workflow, defaults, crc FROM workflow_default WHERE script = ? AND workflow = ?

-- name: put
INSERT OR REPLACE INTO workflow_default (script, workflow, defaults, crc) VALUES (?, ?, ?, ?)
