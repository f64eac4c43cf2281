"""Which process holds which run.

Every process that runs something keeps one flock, on a file of its own, for as long as it lives. A run names its
holder; the holder is alive exactly as long as that lock is taken. The kernel drops it at death, however the process
dies: no stale window, no guessing from process ids (flock(2)).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw

from perdure.core.run import HolderInfo
from perdure.errors import StateReadOnly


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

    def hid(self, connection: apsw.Connection, now: float) -> int:
        """This process's number in the file; takes the lock the first time. Called inside a transaction."""
        if self._hid is None:
            self._lock()
            row = (self._token, os.getpid(), os.uname().nodename, now)
            self._hid = next(connection.execute(self._sql["add_holder"], row))[0]
        return self._hid

    def forget(self) -> None:
        """The transaction that introduced this process was rolled back: introduce it again next time."""
        self._hid = None

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

    def close(self) -> None:
        """Let go of everything; the lock file goes too."""
        if self._descriptor is not None:
            (self._folder / f"{self._token}.lock").unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = self._hid = None

    def close_in_child(self) -> None:
        """After a fork: the child's copy of the descriptor would keep the lock alive beyond the parent's death."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # closing a copy does not unlock; an unlock call would
            self._descriptor = self._hid = None

    def _lock(self) -> None:
        if self._descriptor is not None:
            return
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._token = f"{os.getpid()}-{os.urandom(8).hex()}"
            path = self._folder / f"{self._token}.lock"
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
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
