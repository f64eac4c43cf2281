"""What the two VFSs of the crash tests have in common: the system's own files, seen through apsw."""

from __future__ import annotations

from typing import Any

import apsw


class SystemFile(apsw.VFSFile):
    """A file of SQLite's unix VFS. Shared memory is passed through: SQLite's own code maps it."""

    def __init__(self, name: Any, flags: list[int]) -> None:
        self._read_only = bool(flags[0] & apsw.SQLITE_OPEN_READONLY)
        super().__init__("unix", name, flags)

    def xLock(self, level: int) -> None:
        try:
            super().xLock(level)
        except apsw.IOError:
            # The last connection tries for an exclusive lock when it closes, and a descriptor that is read-only
            # cannot have it. SQLite lets that pass; apsw would raise it from close(). It also knows 'busy', which
            # means the same here.
            if not self._read_only:
                raise
            raise apsw.BusyError from None
