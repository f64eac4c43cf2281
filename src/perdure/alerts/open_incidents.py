"""Which runs somebody has been told of as ill: only of those is told that they are well again."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from perdure.alerts import atomic_files
from perdure.alerts.alert import RECOVERED, Alert

FOLDER: Final = "ailing"
"""Inside a spool's folder; an empty file for each run."""
MOST: Final = 1_000
"""Runs that are remembered; those that nobody ever resumed make room, the oldest first."""


def note(spool: Path, alert: Alert) -> None:
    """Remember, or forget, the run that an alert is about.

    Raises:
        OSError: the disk would not have it.
    """
    if not alert.run or alert.what == "message":
        return
    path = _path(spool, alert.run)
    if alert.what == RECOVERED:
        path.unlink(missing_ok=True)
    elif alert.level in ("error", "critical"):
        atomic_files.make_folder(path.parent)
        path.touch(mode=0o600)
        _shorten(path.parent)


def is_ailing(spool: Path, run: str) -> bool:
    """Has somebody been told of a run as ill, and not that it is well again?"""
    return _path(spool, run).exists()


def _path(spool: Path, run: str) -> Path:
    return spool / FOLDER / hashlib.blake2b(run.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _shorten(folder: Path) -> None:
    if len(os.listdir(folder)) > MOST:
        with suppress(OSError):  # somebody else does it too
            for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-MOST]:
                path.unlink(missing_ok=True)
