-- Version 13: the command lines that scripts had when they began runs, for where they are loaded later on.

CREATE TABLE command_line (
    run  INTEGER PRIMARY KEY,
    line BLOB NOT NULL,
    crc  INTEGER NOT NULL
) STRICT;
