"""Copies of the user's folder, one for each kill."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from perdure.core.sizes import show_size
from perdure.errors import UsageError

LARGEST = 50 * 1024 * 1024
"""Bytes that are copied for each kill, at most."""

LEFT_OUT = frozenset(
    {".perdure", ".git", ".hg", ".jj", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache",
     ".pytest_cache", ".ruff_cache", ".tox", ".nox"}
)  # fmt: skip
"""Folders that no script reads its data from, and the user's own state."""


def not_copied(folder: str, names: list[str]) -> set[str]:
    """Of the names in a folder, those of pipes, sockets and devices: they belong to processes and have no content."""
    kinds = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK
    return {name for name in names if stat.S_IFMT(os.lstat(os.path.join(folder, name)).st_mode) not in kinds}


def copy_folder(source: Path, target: Path, copies: Path) -> None:
    """Copy a folder, with its links as links, but for what is in LEFT_OUT.

    Args:
        source: the folder.
        target: is made.
        copies: where all copies lie; may be in the folder, if temporary files are made there.

    Raises:
        UsageError: it is too large to be copied again and again.
    """
    size = 0
    for path in files_in(source, copies):
        size += path.lstat().st_size
        if size > LARGEST:
            raise UsageError(
                f"{source} holds more than {show_size(LARGEST)}, which would be copied for each kill",
                "put the script into a folder with what it needs, or name that folder: --copy DIR",
            )

    def left_out(folder: str, names: list[str]) -> set[str]:
        more = {name for name in names if name in LEFT_OUT or Path(folder, name) == copies}
        return more | not_copied(folder, names)

    shutil.copytree(source, target, symlinks=True, ignore=left_out)


def files_in(folder: Path, copies: Path | None = None) -> Iterator[Path]:
    """The files in a folder and below it, in order, but for what is in LEFT_OUT and the folder `copies`."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and Path(root, name) != copies)
        yield from (Path(root, name) for name in sorted(names))
