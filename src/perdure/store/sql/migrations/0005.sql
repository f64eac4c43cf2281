-- Version 5.

-- Large payloads are kept in pieces, each of them once. Older rows stay as they are.

CREATE TABLE piece (
    digest BLOB PRIMARY KEY NOT NULL CHECK (length(digest) = 16),
    data   BLOB NOT NULL
) STRICT;

CREATE TABLE piece_use (
    run    INTEGER NOT NULL,
    digest BLOB NOT NULL REFERENCES piece (digest),
    crc    INTEGER NOT NULL,
    PRIMARY KEY (run, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX piece_used ON piece_use (digest);
