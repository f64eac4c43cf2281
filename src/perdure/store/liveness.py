"""A process that others can see is alive.

It keeps one flock, on a file of its own, for as long as it lives. The kernel drops it at death, however the process
dies: no stale window, no guessing from process ids (flock(2)).
"""

from __future__ import annotations

import errno
import os
import shlex
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from perdure.config.file_locks import is_free, lock_descriptor
from perdure.config.os_errors import is_refused, named, refused, remove
from perdure.config.ownership import NO_LINK, make_file, make_folder
from perdure.config.script_identity import point_out
from perdure.core.digests import blake2b
from perdure.core.patterns import later
from perdure.core.redaction.printable import one_line
from perdure.errors import StateUntrusted

LOOKING = os.O_RDONLY if os.name == "posix" else os.O_RDWR
"""How a lock file is opened to be looked at: flock(2) asks for no more, also where the file system is read-only."""

_TOKEN = later(r"[0-9]{1,20}-[0-9a-f]{16}")
"""What a token looks like. It comes back out of a file, and must not lead to other files."""


@lru_cache(64)
def locks_of(state: Path) -> Path:
    """Where the locks of the processes lie that use a state file."""
    return state.with_name(state.name + "-locks")


def file_token(token: str) -> str:
    """A token out of a state file, as the name of a file: itself, or another that no process ever had.

    Args:
        token: whatever stands in the file.
    """
    if _TOKEN.fullmatch(token):
        return token
    return f"0-{blake2b(token.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def lives(state: Path, token: str) -> bool:
    """Is the process alive that goes by that token in a state file?"""
    return is_held(locks_of(state) / f"{file_token(token)}.lock")


def seems_alive(state: Path, token: str) -> bool:
    """The same where nothing is taken from a process that is dead: one of which it cannot be said counts as alive."""
    return seems_held(locks_of(state) / f"{file_token(token)}.lock")


def seems_held(path: Path) -> bool:
    """`is_held` for who shows it, or leaves alone what is held: a lock of another user's counts as held, and is named.

    Raises:
        StateError: the system reported another error than that it is another user's.
    """
    try:
        return is_held(path)
    except StateUntrusted as error:
        if path not in _unknown:
            _unknown.add(path)
            point_out(one_line(f"a process of another user counts as alive: {error.what}; {error.hint}"))
        return True


_unknown: set[Path] = set()
"""Locks of which it was said that they cannot be looked at."""


def users(state: Path) -> list[int]:
    """The ids of the processes that hold something in a state file, whatever that says itself; no lock is removed.

    Raises:
        StateUntrusted: a lock is another user's, so that it cannot be said.
    """
    folder = locks_of(state)
    if folder.is_symlink() or not folder.is_dir():
        return []
    files = sorted(path for path in folder.glob("*.lock") if _TOKEN.fullmatch(path.stem))
    return [int(path.stem.partition("-")[0]) for path in files if is_held(path, clear=False)]


class Liveness:
    """This process.

    Args:
        state: the state file; the locks lie beside it, in `<state>-locks/`.
        looks: nothing is taken from processes that are dead (`seems_alive`).

    `token` is what it goes by; empty as long as it has no lock.
    """

    def __init__(self, state: Path, *, looks: bool = False) -> None:
        self.token = ""
        self._state = state
        self._lives = seems_alive if looks else lives
        self._folder = locks_of(state)
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        self._file = ""  # its path, looked at whenever a run begins

    def show(self) -> str:
        """Take the lock, if that has not been done; returns the token.

        Raises:
            StateReadOnly: the lock cannot be made.
        """
        with self._mutex:
            if self._descriptor is None:
                self.token = f"{os.getpid()}-{os.urandom(8).hex()}"
                self._descriptor = self._locked()
                self._file = str(self._path(self.token))
            return self.token

    def lives(self, token: str) -> bool:
        """Is the process alive that goes by that?"""
        return self._lives(self._state, token)

    def is_seen(self) -> bool:
        """Do others take this process for alive? Not if its lock file was removed."""
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(os.stat(self._file), os.fstat(self._descriptor))
        except OSError:
            return False

    def nudges(self) -> int:
        """Changes when another process has nudged this one, to look into the file for what it is asked to do."""
        with suppress(OSError):
            return 0 if self._descriptor is None else os.fstat(self._descriptor).st_mtime_ns
        return -1  # the file may say something new

    def nudge(self, token: str) -> None:
        """Make another process look."""
        with suppress(OSError):  # it has ended meanwhile
            os.utime(self._path(file_token(token)), follow_symlinks=os.utime not in os.supports_follow_symlinks)

    def close(self) -> None:
        """Let go of the lock; its file goes too."""
        with self._mutex:
            if self._descriptor is not None:
                remove(self._path(self.token))
                self._let_go()

    def forget(self) -> None:
        """Have no lock any more, without unlocking it for others who have it: a parent, after a fork.

        The child's copy of the descriptor would keep the lock alive beyond the parent's death.
        """
        if self._descriptor is not None:
            self._let_go()

    def _let_go(self) -> None:
        assert self._descriptor is not None
        os.close(self._descriptor)
        self._descriptor = None

    def _path(self, token: str) -> Path:
        return self._folder / f"{token}.lock"

    def _locked(self) -> int:
        try:
            make_folder(self._folder)
            descriptor = make_file(self._path(self.token), os.O_EXCL | os.O_RDWR)
            try:
                if not _flock(descriptor):
                    raise OSError(errno.EWOULDBLOCK, "another process has locked a file that was just made")
            except BaseException:
                os.close(descriptor)
                remove(self._path(self.token))
                raise
        except OSError as error:
            if not is_refused(error) and error.errno != errno.EWOULDBLOCK:
                raise named(error, self._folder) from error
            raise refused(
                f"no lock can be made in {self._folder} ({error.strerror})",
                self._folder,
                "check the permissions of the folder, or set PERDURE_STATE to another path",
            ) from error
        return descriptor


def _flock(descriptor: int) -> bool:
    return lock_descriptor(descriptor)


def is_held(path: Path, *, clear: bool = True) -> bool:
    """Is the process that made this lock file alive? A dead one's file is removed (`clear`).

    Raises:
        StateUntrusted: it is another user's, or a link, so that it cannot be said.
        StateError: the system reported another error.
    """
    try:
        if path.parent.is_symlink():
            return False  # no process of ours made that folder, and nothing in it is removed
        descriptor = os.open(path, LOOKING | NO_LINK)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP):
            raise named(error, path) from error
        pid = path.name.partition("-")[0]
        raise StateUntrusted(
            f"the lock of process {pid} cannot be opened: {path} ({error.strerror})",
            f"remove the lock if that process has ended: rm -f {shlex.quote(str(path))}; else run as that user",
        ) from error
    try:
        if not is_free(descriptor):
            return True
        if clear:
            remove(path)  # a token is never used twice, so no process can be about to lock it
        return False
    finally:
        os.close(descriptor)
