"""A victim whose disk fails: `python faulty.py script.py` runs the script over a VFS that fails one operation.

CRASH_FAULT says which: `error:N` makes the N-th operation of any kind report an I/O error, `full:N` makes the N-th
that needs space report that there is none, `short:N` writes half of the N-th write and then reports an error. N = 0
fails nothing (strace may do it instead). `unsynced:0` acknowledges each sync and does none: a control. How many
operations there were is said at the end. `own-EIO:N` fails operation N on the files that SQLite does not see, with that
error (own_files.py). A named error of perdure's is said too, and is exit status 3; anything else is
a traceback.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from typing import Any

import apsw
from own_files import OwnFiles
from vfs import SystemFile


class Fault:
    """Counts operations and fails the chosen one."""

    def __init__(self, kind: str, at: int) -> None:
        self.kind = kind
        self.at = at
        self.count = 0
        self.failed = ""
        self._lock = threading.Lock()

    def due(self, operation: str, code: int, *, takes_space: bool = False) -> bool:
        """Count the operation; is it the one? Then for 'error' and 'full' this raises what SQLite is to see."""
        if self.kind != "error" and not takes_space:
            return False
        with self._lock:
            self.count += 1
            if self.count != self.at:
                return False
            self.failed = operation
        if self.kind == "short" and operation == "write":
            return True
        raise apsw.exception_for(apsw.SQLITE_FULL if self.kind == "full" else code)


class FaultyFile(SystemFile):
    """A file of a FaultyDisk."""

    def __init__(self, fault: Fault, name: Any, flags: list[int]) -> None:
        self._fault = fault
        super().__init__(name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        self._fault.due("read", apsw.SQLITE_IOERR_READ)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._fault.due("write", apsw.SQLITE_IOERR_WRITE, takes_space=True):
            super().xWrite(data[: len(data) // 2], offset)
            raise apsw.exception_for(apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if self._fault.kind == "unsynced":
            return
        self._fault.due("sync", apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:
        self._fault.due("truncate", apsw.SQLITE_IOERR_TRUNCATE)
        super().xTruncate(size)

    def xFileSize(self) -> int:
        self._fault.due("size", apsw.SQLITE_IOERR_FSTAT)
        return super().xFileSize()

    def xLock(self, level: int) -> None:
        self._fault.due("lock", apsw.SQLITE_IOERR_LOCK)
        super().xLock(level)


class FaultyDisk(apsw.VFS):
    """The system's VFS, except that one operation fails. Shared memory is passed through: SQLite's own code maps it."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        super().__init__("faulty", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        self._fault.due("open", apsw.SQLITE_CANTOPEN, takes_space=bool(flags[0] & apsw.SQLITE_OPEN_CREATE))
        return FaultyFile(self._fault, name, flags)

    def xDelete(self, name: str, sync_folder: bool) -> None:
        self._fault.due("delete", apsw.SQLITE_IOERR_DELETE)
        super().xDelete(name, sync_folder)

    def xAccess(self, name: str, flags: int) -> bool:
        self._fault.due("access", apsw.SQLITE_IOERR_ACCESS)
        return super().xAccess(name, flags)


def main() -> int:
    kind, at = os.environ.get("CRASH_FAULT", "error:0").split(":")
    fault: Fault | OwnFiles
    if kind.startswith("own-"):
        fault, disk = OwnFiles(kind.removeprefix("own-"), int(at)), None
        fault.install()
    else:
        fault = Fault(kind, int(at))
        # Without a fault of its own it runs on the system's VFS: the trouble comes from beneath or is in the file.
        disk = FaultyDisk(fault) if "CRASH_FAULT" in os.environ else None
    import witness

    from perdure.errors import PerdureError

    try:
        runpy.run_path(sys.argv[1], run_name="__main__")
    except PerdureError as error:
        witness.say("refused", code=error.code, value=bool(error.hint))
        return 3
    finally:
        if disk is not None or isinstance(fault, OwnFiles):
            witness.say("operations", value=[fault.count, fault.failed])
    return 0


if __name__ == "__main__":
    sys.exit(main())
