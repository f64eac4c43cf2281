"""Names that survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path

from perdure.errors import StateIO


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut: the folder has to be fsynced too (fsync(2), NOTES).

    Raises:
        StateIO: the system reported an error.
    """
    try:
        for each in (folder, folder.parent):
            descriptor = os.open(each, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise StateIO(
            f"the folder of the state file cannot be synced: {folder} ({error})", "check the disk, then run again"
        ) from error
