"""Is a file damaged, or was a read of it in trouble? SQLite says "malformed" of both.

It takes EIO on a read for damage (SQLITE_IOERR_CORRUPTFS becomes SQLITE_CORRUPT), since some file systems report
damage so. A disk or network that was in trouble for a moment leaves the file intact: so the file is read once more,
by SQLite itself, before it is called damaged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from perdure.store.connection import open_connection

DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)


def is_damaged(error: apsw.Error, path: Path) -> bool:
    """Is the file damaged of which SQLite said that, in `error`, or what the file holds not what perdure writes?

    Args:
        error: a kind of DAMAGE; what we raise ourselves has read the file well, and is believed.
        path: the file.
    """
    if not getattr(error, "extendedresult", 0):
        return True
    connection = None
    try:
        connection = open_connection(path, "FULL", read_only=True)
        # Not quick_check: it does not compare an index with the rows, and a write that misses an entry fails.
        answer: list[Any] = connection.execute("PRAGMA integrity_check(1)").fetchall()
        return answer != [("ok",)]
    except apsw.Error as again:
        return isinstance(again, DAMAGE) and not (connection is not None and _last_read_failed(connection))
    finally:
        if connection is not None:
            connection.close()


def _last_read_failed(connection: apsw.Connection) -> bool:
    """Did the system report an error on the file? A page that is malformed was read well."""
    import ctypes

    number = ctypes.c_int(0)
    return connection.file_control("main", apsw.SQLITE_FCNTL_LAST_ERRNO, ctypes.addressof(number)) and number.value != 0
