"""What the system refuses for a file of ours, as one of perdure's errors."""

from __future__ import annotations

import errno
import os
import shlex
from contextlib import suppress
from pathlib import Path

from perdure.config import ownership
from perdure.errors import DiskFull, StateError, StateIO, StateReadOnly

_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_USED_UP = {errno.EMFILE, errno.ENFILE}

SHARED_MEMORY = 32_768
"""Bytes of the file by which the processes that use a write-ahead log find what is in it."""


def named(error: OSError, path: Path | str = "") -> StateError:
    """The error of ours that says what an OSError means for the user.

    Args:
        error: what the system said of a file or folder beside the state file.
        path: which, if the error itself does not say.
    """
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(path)
    text = f"{where or 'a file of the state'} ({error.strerror or error})"
    if is_used_up(error):
        return used_up(where or str(path))
    if is_refused(error):
        return refused(
            f"the system refuses access: {text}",
            Path(where),
            "check the permissions of it and of its folder, or set PERDURE_STATE to another path",
        )
    if error.errno in _FULL:
        return DiskFull(f"no space is left for {text}", "free some space and run again; everything saved is intact")
    return StateIO(
        f"the system reported an error: {text}", "check the disk (dmesg), then run again; everything saved is intact"
    )


def refused(what: str, path: Path, hint: str) -> StateReadOnly:
    """The error of ours that says that a file of the state cannot be used; it names the user that keeps it, if any.

    Args:
        what: what cannot be done.
        path: the file, or where it would be made.
        hint: what to do if it is no other user's.
    """
    found = ownership.keeper(path)
    if found is None:
        return StateReadOnly(what, hint)
    place, owner = found
    return StateReadOnly(
        f"{what}; {place} belongs to {owner}",
        f"run as that user, or set PERDURE_STATE to a path of your own{_given_back(place, path)}",
    )


def _given_back(place: Path, path: Path) -> str:
    """How it becomes this user's, if it is perdure's: as a rule it was made by a run under `sudo`."""
    if place != path and ownership.HOME not in place.parts:
        return ""
    return f"; if it is yours: sudo chown -R {os.geteuid()} {shlex.quote(str(place))}"


def is_refused(error: OSError) -> bool:
    """Is it about who may do what, rather than about the disk?"""
    return error.errno in _REFUSED


def used_up(where: str) -> StateIO:
    """The error of ours that says that no more files may be opened: `where` is which could not be."""
    return StateIO(
        f"no more files may be opened, of which the process may have {_limit()}: {where or 'a file of the state'}",
        "raise the limit (`ulimit -n 1024`), or close what the program leaves open; everything saved is intact",
    )


def note_used_up(error: BaseException, where: str = "") -> None:
    """Add to an error that no more files may be opened how many the process may have, and what to do; once.

    Args:
        error: an error of whatever kind.
        where: what could not be opened; by default what the error says.
    """
    if not isinstance(error, OSError) or not is_used_up(error):
        return
    named = error.filename if isinstance(error.filename, str | bytes) else "a file or a connection"
    known = used_up(where or os.fsdecode(named))
    with suppress(Exception):  # what a class of the user's raises; no module is loaded now
        if not any(known.hint in str(line) for line in getattr(error, "__notes__", ())):
            error.add_note(f"perdure: {known.what}\n  {known.hint}")


def _limit() -> str:
    try:
        return f"{os.sysconf('SC_OPEN_MAX'):,}"
    except (AttributeError, OSError, ValueError):
        return "so many"


def is_used_up(error: BaseException | None) -> bool:
    """Does it say that no more files may be opened?"""
    return isinstance(error, OSError) and error.errno in _USED_UP


def are_used_up() -> bool:
    """May no more files be opened? It is tried, since SQLite does not say why it cannot open a file."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return is_used_up(error)
    return False


class own_files:  # noqa: N801  used like a function: `with own_files(path):`
    """Where perdure opens files of its own and loads modules, and no function of the user's raises: names the error
    that no more may be opened.

    Args:
        where: which file is meant, if the error itself does not say.
    """

    __slots__ = ("_where",)

    def __init__(self, where: Path | str) -> None:
        self._where = where

    def __enter__(self) -> None:
        """Inside, it is named."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Raise what the error means."""
        if isinstance(error, OSError) and is_used_up(error):
            raise named(error, self._where) from error


def is_full(folder: Path) -> bool:
    """Has its file system no room for what SQLite needs beside a file to open it?"""
    try:
        room = os.statvfs(folder)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < SHARED_MEMORY


def remove(path: Path) -> None:
    """Remove a file that is of no use any more. If that cannot be, it stays: nothing depends on it."""
    with suppress(OSError):
        path.unlink()


def append_whole(descriptor: int, data: bytes) -> None:
    """Append to a file that only this process writes to: all of it, or nothing, for what is appended next to be read.

    Raises:
        OSError: it cannot be written, or there is no room for all of it.
    """
    written = os.write(descriptor, data)
    if written != len(data):
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
