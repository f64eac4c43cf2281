"""Who keeps the journal of a state file from being shortened: processes that read the file and do not finish.

A reader sees the file as it was when it began, so what was written since has to stay in the journal. SQLite marks each
reader by a lock on a byte of the file `-shm` (https://sqlite.org/walformat.html#the_read_lock), and Linux lists whose
a lock is. The file itself is never opened here: that would give up this process's own locks.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_READ_MARKS = range(123, 128)
_MOST_NAMED = 3


def readers(path: Path) -> list[int]:
    """The processes that read a state file at this moment, by their ids; none where the system does not list locks."""
    found: set[int] = set()
    with suppress(OSError, ValueError):
        at = os.stat(f"{path}-shm")
        inode = f"{os.major(at.st_dev):02x}:{os.minor(at.st_dev):02x}:{at.st_ino}"
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            _, kind, *_, access, pid, where, first, last = line.split()
            end = 1 << 62 if last == "EOF" else int(last)
            marked = any(int(first) <= byte <= end for byte in _READ_MARKS)
            if marked and (kind, access, where) == ("POSIX", "READ", inode):
                found.add(int(pid))
    return sorted(pid for pid in found if pid > 0)


def finishes(pids: list[int]) -> str:
    """What has to happen before the journal starts over, as the end of a sentence: of these processes that read."""
    if not pids:
        return "the process that reads it has finished"
    named = [f"{pid} ({_command(pid)})" if pid != os.getpid() else f"{pid} (this process)" for pid in pids]
    more = len(named) - _MOST_NAMED
    listed = ", ".join(named[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"process {listed} has finished reading" if len(named) == 1 else f"processes {listed} have finished reading"


def _command(pid: int) -> str:
    """The name of the program: its arguments may hold what is no matter of the log."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip() or "?"
    except OSError:
        return "it is over now"
