"""Which process holds which run.

Every process that runs something keeps one flock, on a file of its own, for as long as it lives. A run names its
holder; the holder is alive exactly as long as that lock is taken. The kernel drops it at death, however the process
dies: no stale window, no guessing from process ids (flock(2)).

A process whose lock file was removed while it ran (or whose file system does not keep locks) looks dead. Whoever takes
a run or a lock from it declares it gone, and from then on a trigger of its own connection refuses its steps: what it
checks and what it writes is one transaction.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from perdure.core.run import HolderInfo
from perdure.errors import StateReadOnly
from perdure.store.sql import load


class Holder:
    """This process, as the holder of runs in one state file.

    Args:
        state: the state file; the locks lie beside it, in `<state>-locks/`.
        sql: the named statements.
    """

    def __init__(self, state: Path, sql: dict[str, str]) -> None:
        self._folder = state.with_name(state.name + "-locks")
        self._sql = sql
        self._descriptor: int | None = None
        self._token = ""
        self._hid: int | None = None
        self._new = False  # introduced by the transaction under way
        self._fencing = load("locks.sql")

    @property
    def token(self) -> str:
        """What this process's lock goes by; empty as long as it has none."""
        return self._token

    @property
    def known(self) -> int | None:
        """This process's number in the file, if it has one."""
        return self._hid

    def hid(self, connection: apsw.Connection, now: float) -> int:
        """This process's number in the file; takes the lock the first time. Called inside a transaction."""
        if self._hid is None:
            self._lock()
            row = (self._token, os.getpid(), os.uname().nodename, now)
            self._hid = next(connection.execute(self._sql["add_holder"], row))[0]
            self._new = True
            connection.execute(self._fencing["unfence"])
            connection.execute(self._fencing["fence"].replace(":hid", str(self._hid)))  # triggers take no parameters
        return self._hid

    def ended(self, committed: bool) -> None:
        """A transaction has ended. If it introduced this process and was rolled back, that is done again next time."""
        if self._new and not committed:
            self._hid = None
        self._new = False

    def sound(self, connection: apsw.Connection) -> bool:
        """Do others take this process for alive? Not if its lock file was removed, or something taken from it."""
        if self._hid is None or self._new:
            return True
        if connection.execute(self._fencing["is_gone"], (self._hid,)).fetchone() != (0,):
            return False
        assert self._descriptor is not None
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except OSError:
            return False

    def renew(self) -> None:
        """Begin anew under another number; nothing may be held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = self._hid = None

    def bury(self, connection: apsw.Connection, hid: int) -> None:
        """Something is taken from a holder that was found dead: it is so for good, whatever it believes itself."""
        connection.execute(self._fencing["bury"], (hid,))

    def owns(self, connection: apsw.Connection, rid: int) -> bool:
        """Does this process still execute that run, as far as all others are concerned?"""
        return connection.execute(self._fencing["is_mine"], (rid, self._hid)).fetchone() is not None

    def redrives(self, connection: apsw.Connection, rid: int) -> bool:
        """Does this process have a dead letter of that run?"""
        return connection.execute(self._fencing["redrives"], (rid, self._hid)).fetchone() is not None

    @contextmanager
    def lent(self, connection: apsw.Connection, rid: int, holder: int | None) -> Iterator[None]:
        """Add records to a run that nobody executes; `holder` is whom it names, and will name again."""
        connection.execute(self._fencing["lend"], (self._hid, rid))
        yield
        connection.execute(self._fencing["lend"], (holder, rid))

    def is_me(self, hid: int) -> bool:
        """Does this process go by that number?"""
        return self._hid == hid

    def living(self, connection: apsw.Connection, hid: int) -> HolderInfo | None:
        """Who the holder is, if it is alive."""
        row: Any = connection.execute(self._sql["get_holder"], (hid,)).fetchone()
        if row is None:
            return None
        info = HolderInfo(*row)
        return info if is_held(self._folder / f"{info.token}.lock") else None

    def nudges(self) -> int:
        """Changes when somebody has nudged this process, to look into the file for what it is asked to do."""
        return 0 if self._descriptor is None else os.fstat(self._descriptor).st_mtime_ns

    def nudge(self, token: str) -> None:
        """Make another process look."""
        with suppress(OSError):  # it has ended meanwhile
            os.utime(self._folder / f"{token}.lock")

    def close(self) -> None:
        """Let go of everything; the lock file goes too."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = self._hid = None

    def close_in_child(self) -> None:
        """After a fork: the child's copy of the descriptor would keep the lock alive beyond the parent's death."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # closing a copy does not unlock; an unlock call would
            self._descriptor = self._hid = None

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._token}.lock"

    def _lock(self) -> None:
        if self._descriptor is not None:
            return
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._token = f"{os.getpid()}-{os.urandom(8).hex()}"
            descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            _flock(descriptor)
        except OSError as error:
            raise StateReadOnly(
                f"no lock can be made in {self._folder} ({error.strerror})",
                "check the permissions of the folder, or set PERDURE_STATE to another path",
            ) from error
        self._descriptor = descriptor


def _flock(descriptor: int) -> bool:
    from filelock import lock_descriptor

    return lock_descriptor(descriptor, blocking=False)


def _is_free(descriptor: int) -> bool:
    # A shared lock: two that look at the same moment must not take each other for the holder.
    try:
        import fcntl
    except ImportError:  # not on Windows
        return _flock(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Is the process that made this lock file alive? A dead one's file is removed."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        if not _is_free(descriptor):
            return True
        path.unlink(missing_ok=True)  # a token is never used twice, so nobody can be about to lock it
        return False
    finally:
        os.close(descriptor)
