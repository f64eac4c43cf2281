-- Version 11: the defaults of functions, by which the calls that a run has recorded are compared once a default is edited.

ALTER TABLE function ADD COLUMN defaults BLOB;

CREATE TABLE workflow_default (
    script   TEXT NOT NULL,
    workflow TEXT NOT NULL,
    defaults BLOB NOT NULL,
    crc      INTEGER NOT NULL,
    PRIMARY KEY (script, workflow)
) STRICT, WITHOUT ROWID;
