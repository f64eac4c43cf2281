"""The statements of a .sql file, by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _collections_abc import dict_items

HERE = Path(__file__).parent / "sql"


class Statements(dict[str, str]):
    """The statements of a file, which is read when the first of them is asked for: a run needs few of the files."""

    __slots__ = ("_file",)

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file

    def __missing__(self, name: str) -> str:
        if not self:
            self._fill()
        if (found := self.get(name)) is None:  # there is one if another thread has read the file since this one asked
            raise KeyError(name)
        return found

    def items(self) -> dict_items[str, str]:
        """Every name with its statement, in the order of the file."""
        if not self:
            self._fill()
        return super().items()

    def _fill(self) -> None:
        found = {}
        for part in (HERE / self._file).read_text(encoding="utf-8").split("-- name: ")[1:]:
            name, _, body = part.partition("\n")
            found[name.strip()] = body.strip().rstrip(";")
        self.update(found)  # at once: another thread may ask meanwhile


@cache
def load(file: str) -> Statements:
    """The named statements of a file beside this module, which is read once: each opening of a state file asks for it.

    A statement begins with a line `-- name: NAME` and ends where the next begins.

    Args:
        file: the file's name, for instance "runs.sql".
    """
    return Statements(file)
