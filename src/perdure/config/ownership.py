"""Whose files are used: what another user has made, or can change, decides nothing here.

Settings name programs to start and servers to send data to; a state file holds what is given to steps. In a folder such
as /tmp any user can make a file of the right name beforehand.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

ROOT = 0
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
