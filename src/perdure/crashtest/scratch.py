"""Copies of the user's folder, one for each kill, and what lies in them at the end."""

from __future__ import annotations

import codecs
import hashlib
import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from perdure.core.sizes import show_size
from perdure.errors import UsageError
from perdure.store import foreign_files

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
    for path in _files(source, copies):
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


class Content(msgspec.Struct, frozen=True):
    """What is in a file.

    Attributes:
        digest: of the whole; of a SQLite file, of its dump.
        extent: how many lines a text has, how many rows each table; empty for others.
    """

    digest: str
    extent: str = ""


def contents(folder: Path) -> dict[str, Content]:
    """Each file by its path below the folder, with what is in it."""
    found = {}
    for path in _files(folder):
        name = str(path.relative_to(folder))
        if name.endswith(("-wal", "-shm", "-journal")) and (path.parent / path.name.rpartition("-")[0]).exists():
            continue
        found[name] = _content(path)
    return found


def _files(folder: Path, copies: Path | None = None) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and Path(root, name) != copies)
        yield from (Path(root, name) for name in sorted(names))


def _content(path: Path) -> Content:
    if path.is_symlink():
        return Content(f"link to {os.readlink(path)}")
    try:
        with path.open("rb") as file:
            head = file.read(len(foreign_files.MAGIC))
            if head != foreign_files.MAGIC:
                file.seek(0)
                return _of_bytes(iter(lambda: file.read(1 << 20), b""))
        return _of_database(foreign_files.statements(path))
    except OSError as error:
        return Content(f"unreadable: {type(error).__name__}")


def _of_bytes(chunks: Iterator[bytes]) -> Content:
    digest, lines, text = hashlib.blake2b(digest_size=16), 0, codecs.getincrementaldecoder("utf-8")()
    is_text = True
    for chunk in chunks:
        digest.update(chunk)
        lines += chunk.count(b"\n")
        try:
            is_text = is_text and b"\0" not in chunk and text.decode(chunk) is not None
        except UnicodeDecodeError:
            is_text = False
    return Content(digest.hexdigest(), f"{lines} lines" if is_text else "")


def _of_database(statements: list[str]) -> Content:
    whole = "\n".join(statements).encode("utf-8", "surrogateescape")
    tables = Counter(each.partition(" VALUES(")[0] for each in statements if each.startswith("INSERT INTO "))
    extent = ", ".join(f"{rows} rows {table}" for table, rows in sorted(tables.items()))
    return Content(hashlib.blake2b(whole, digest_size=16).hexdigest(), extent)
