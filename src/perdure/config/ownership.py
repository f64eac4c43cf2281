"""Whose files are used: what another user has made, or can change, decides nothing here.

Settings name programs to start and servers to send data to; a state file holds what is given to steps. In a folder such
as /tmp any user can make a file of the right name beforehand.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from perdure.config.setting_values import switched_on

HOME = ".perdure"
"""The folder that is made beside a script."""

ROOT = 0
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""For opening what another user may have put there: neither a link nor a pipe leads anywhere."""

OWNED = hasattr(os, "geteuid")
"""Whether files have owners that can be asked for: not on Windows."""


def objection(found: os.stat_result, trusted: Iterable[int] = ()) -> str:
    """Why a file or folder cannot be trusted; empty if it can.

    Args:
        found: what the system says of it.
        trusted: user ids that are trusted besides root and the user of this process.
    """
    if not OWNED:
        return ""
    if found.st_uid not in {ROOT, os.geteuid(), *trusted}:
        return f"it belongs to {user(found.st_uid)}"
    if writable_by_all(found):
        return "all users can write it"
    if found.st_mode & stat.S_IWGRP and found.st_gid not in {ROOT, os.getegid()} and found.st_uid != os.geteuid():
        return f"the group {found.st_gid} can write it"
    return ""


def writable_by_all(found: os.stat_result) -> bool:
    """Whether every user can change it: in a sticky folder users can only make files, not exchange those of others."""
    sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    return bool(found.st_mode & stat.S_IWOTH) and not sticky


def user(uid: int) -> str:
    """The name of a user, for messages."""
    try:
        import pwd

        return f"user {pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (ImportError, KeyError):
        return f"the user with uid {uid}"


def keeper(path: Path) -> tuple[Path, str] | None:
    """Whom a file that the system refuses belongs to, if that is another user.

    Args:
        path: what cannot be used; it may be missing.

    Returns:
        What belongs to that user, the file or a folder above it, and who it is.
    """
    for place in (path, *path.parents) if OWNED else ():
        try:
            found = os.lstat(place)
        except OSError:
            continue  # it is missing, or lies in a folder that is closed
        needed = os.R_OK | os.W_OK | (os.X_OK if stat.S_ISDIR(found.st_mode) else 0)
        refused = found.st_uid != os.geteuid() and not os.access(place, needed)
        return (place, user(found.st_uid)) if refused else None
    return None


def shared() -> bool:
    """Whether state is shared with other users (PERDURE_SHARED): their files are used, and ours open to the group."""
    return switched_on("PERDURE_SHARED")


def stranger(found: os.stat_result) -> str:
    """Which other user a file or folder of state belongs to; empty if it is ours, root's, or shared."""
    if not OWNED or found.st_uid in (ROOT, os.geteuid()) or shared():
        return ""
    return user(found.st_uid)


def missing_folders(path: Path) -> list[Path]:
    """A folder and those above it that are not there, the uppermost first."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    return missing[::-1]


def make_folder(path: Path) -> None:
    """Make a folder for this user only, and those above it that are missing; or see that it is ours.

    Raises:
        OSError: it cannot be made, is a link, or belongs to another user.
    """
    for folder in missing_folders(path):
        with suppress(FileExistsError):  # another process was first
            make_private(folder)
            if shared():
                folder.chmod(0o2770)
    check_folder(path)


def make_private(folder: Path) -> None:
    """Make a folder for this user only, whatever the umask: that may take away what its owner needs.

    Raises:
        OSError: it cannot be made, or is there.
    """
    folder.mkdir(mode=0o700)
    if folder.stat().st_mode & 0o700 != 0o700:
        folder.chmod(0o700)


def check_folder(path: Path) -> None:
    """See that a folder is one of ours.

    Raises:
        OSError: it is no folder but a link or a file, or belongs to another user, who could exchange what lies in it.
    """
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is not a folder of its own, but a link or a file", str(path))
    if other := stranger(found):
        raise PermissionError(errno.EPERM, f"it belongs to {other}", str(path))


def make_file(path: Path, flags: int) -> int:
    """Open a file that is made if it is missing, for this user only (with PERDURE_SHARED for its group); no link.

    Args:
        path: the file.
        flags: of open(2), besides O_CREAT.

    Raises:
        OSError: it cannot be made.
    """
    descriptor = os.open(path, flags | os.O_CREAT | NO_LINK, 0o600)
    with suppress(PermissionError):  # another user's, which is open to the group already
        if shared():
            os.fchmod(descriptor, 0o660)
        elif OWNED and os.fstat(descriptor).st_mode & 0o600 != 0o600:  # the umask took it away
            os.fchmod(descriptor, 0o600)
    return descriptor
