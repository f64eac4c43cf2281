"""What a script sees as its command line where perdure loads it: its own, or none, and never that of a perdure command.

docs/decisions/0072-command-lines-of-loaded-scripts.md says why.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, SupportsIndex, overload

_PARSERS = frozenset({"absl", "argparse", "click", "cyclopts", "docopt", "fire", "getopt", "optparse", "typer"})
"""Modules that read the command line for who calls them."""

_LIBRARIES = os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep, os.path.dirname(os.__file__) + os.sep

_is_own = False


def own_program() -> list[str]:
    """This process is a program of perdure's own: its arguments are taken, such that no code of users finds them."""
    global _is_own
    _is_own = True
    arguments = sys.argv[1:]
    del sys.argv[1:]
    return arguments


def is_own_program() -> bool:
    """Is it one?"""
    return _is_own


class Reads:
    """What a load has read of the command line.

    Attributes:
        line: of the script, or of a module of its user's, that was the first to read more than its name; 0: none did.
        file: where that is.
    """

    def __init__(self) -> None:
        self.line = 0
        self.file = ""

    def note(self, frame: FrameType | None) -> None:
        """It is read by the code in that frame: code of a library counts only if it parses command lines."""
        if self.line or frame is None:
            return
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _PARSERS:
            while frame is not None and _is_library(frame):
                frame = frame.f_back
        if frame is not None and not _is_library(frame):
            self.line, self.file = frame.f_lineno, frame.f_code.co_filename


def _is_library(frame: FrameType) -> bool:
    return any(part in frame.f_code.co_filename for part in _LIBRARIES)


class _WatchedLine(list[str]):
    """A command line without arguments that notes who looks for some, while `reads` is set."""

    reads: Reads | None = None

    def _note(self) -> None:
        if self.reads is not None:
            self.reads.note(sys._getframe(2))

    def __len__(self) -> int:
        self._note()
        return super().__len__()

    def __iter__(self) -> Iterator[str]:
        self._note()
        return super().__iter__()

    def __contains__(self, item: object) -> bool:
        self._note()
        return super().__contains__(item)

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: Any) -> Any:
        if index != 0:
            self._note()
        return super().__getitem__(index)


@contextmanager
def loading(file: str) -> Iterator[Reads]:
    """While a script is loaded, and from then on: in a program of perdure's own it sees its name, and no arguments.

    In a script's own process, and in those that make attempts for one, it sees what that was started with.

    Args:
        file: of the script.
    """
    reads = Reads()
    if not _is_own:
        yield reads
        return
    line = _WatchedLine([file])
    line.reads = reads
    sys.argv = line
    try:
        yield reads
    finally:
        line.reads = None
        if sys.argv is line:
            sys.argv = [file]


def packed() -> list[bytes]:
    """The command line of this process, as another one is to have it."""
    return [each.encode("utf-8", "surrogatepass") for each in list.__iter__(sys.argv) if isinstance(each, str)]


def take(line: Sequence[bytes]) -> None:
    """Have this command line from now on: `packed` of another process."""
    sys.argv[:] = [each.decode("utf-8", "surrogatepass") for each in line]
