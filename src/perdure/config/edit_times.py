"""When a file was edited: written to, or put in the place of another one."""

from __future__ import annotations

import os


def changed_at(found: os.stat_result) -> int:
    """Nanoseconds since the epoch. A file that is moved to its place keeps the time of its content, as with `mv` and
    `rsync -a`: by that alone nothing was edited.

    Args:
        found: what the system says of the file.
    """
    return max(found.st_mtime_ns, found.st_ctime_ns)


def edited_after(path: str, moment: int) -> bool:
    """Whether a file was edited since then, or is gone.

    Args:
        path: the file.
        moment: nanoseconds since the epoch.
    """
    try:
        return changed_at(os.stat(path)) > moment
    except OSError:
        return True
