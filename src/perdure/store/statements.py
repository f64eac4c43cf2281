"""The statements of a .sql file, by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent / "sql"


class Statements:
    """The statements of a file, which is read when the first of them is asked for: a run needs few of the files."""

    __slots__ = ("_file", "_read")

    def __init__(self, file: str) -> None:
        self._file = file
        self._read: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return (self._read or self._all())[name]

    def items(self) -> Iterable[tuple[str, str]]:
        """Every name with its statement, in the order of the file."""
        return (self._read or self._all()).items()

    def _all(self) -> dict[str, str]:
        found = {}
        for part in (HERE / self._file).read_text(encoding="utf-8").split("-- name: ")[1:]:
            name, _, body = part.partition("\n")
            found[name.strip()] = body.strip().rstrip(";")
        self._read = found
        return found


def load(file: str) -> Statements:
    """The named statements of a file beside this module.

    A statement begins with a line `-- name: NAME` and ends where the next begins.

    Args:
        file: the file's name, for instance "runs.sql".
    """
    return Statements(file)
