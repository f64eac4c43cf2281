-- Version 12: the requests that the page has carried out, so that none is carried out again under its key.

CREATE TABLE keyed_request (
    key    BLOB PRIMARY KEY NOT NULL CHECK (length(key) = 16),
    asked  BLOB NOT NULL CHECK (length(asked) = 16),
    at     REAL NOT NULL,
    token  TEXT NOT NULL,
    status INTEGER CHECK (status BETWEEN 100 AND 599),
    media  TEXT CHECK ((media IS NULL) = (status IS NULL)),
    body   BLOB CHECK ((body IS NULL) = (status IS NULL)),
    crc    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
