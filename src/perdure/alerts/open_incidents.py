"""The runs in trouble that an alert was sent for: only those get an alert when they recover."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from perdure.alerts import atomic_files
from perdure.alerts.alert import RECOVERED, Alert
from perdure.config.ownership import make_file

FOLDER: Final = "ailing"
"""Inside a spool's folder; an empty file for each run. The name is that of the first version, on users' disks."""
MOST: Final = 1_000
"""Runs that are remembered; the oldest make room."""


def record(spool: Path, alert: Alert) -> None:
    """Open or close the incident of the run that an alert is about.

    Raises:
        OSError: it cannot be written.
    """
    if not alert.run or alert.what == "message":
        return
    path = _path(spool, alert.run)
    if alert.what == RECOVERED:
        path.unlink(missing_ok=True)
    elif alert.level in ("error", "critical"):
        atomic_files.make_folder(path.parent)
        os.close(make_file(path, os.O_WRONLY))
        _shorten(path.parent)


def is_open(spool: Path, run: str) -> bool:
    """Was an alert sent for the run, and none of its recovery?"""
    return _path(spool, run).exists()


def _path(spool: Path, run: str) -> Path:
    return spool / FOLDER / hashlib.blake2b(run.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _shorten(folder: Path) -> None:
    if len(os.listdir(folder)) > MOST:
        with suppress(OSError):  # another process does it too
            for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-MOST]:
                path.unlink(missing_ok=True)
