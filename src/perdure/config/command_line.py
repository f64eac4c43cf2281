"""What a script sees as its command line where perdure loads it: that of its run, or none, never that of perdure.

docs/decisions/0072-command-lines-of-loaded-scripts.md and 0073-command-lines-of-runs.md say why.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

if TYPE_CHECKING:
    from perdure.config.kept_command_line import CommandLine

_PARSERS = frozenset({"absl", "argparse", "click", "cyclopts", "docopt", "fire", "getopt", "optparse", "typer"})
"""Modules that read the command line for who calls them."""

_LIBRARIES = os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep, os.path.dirname(os.__file__) + os.sep

_is_own = False

_GIVEN = [each for each in sys.argv[1:] if isinstance(each, str)] if hasattr(sys, "argv") else []
"""What this process was started with. Scripts take from `sys.argv` what they have read."""


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:  # it is gone
        return ""


_FOLDER = _here()
"""Where this process was started: relative paths among them are meant from there."""

_of_run: ContextVar[CommandLine | None] = ContextVar("command line", default=None)
"""In a program of perdure's own: that of the run that is executed."""


def own_program() -> list[str]:
    """This process is a program of perdure's own: its arguments are taken, such that no code of users finds them."""
    global _is_own
    _is_own = True
    arguments = sys.argv[1:]
    del sys.argv[1:]
    return arguments


_is_of_user: bool | None = None
_kept: tuple[Any, list[str], bytes] | None = None  # what took the secrets out, of which arguments, and what was left


def given() -> bytes | None:
    """The command line of this process, packed, to be kept with the runs that it begins; empty: it was given nothing.

    None: it is not that of a script of the user's. Servers and test runners are started by a command of their own.
    """
    global _is_of_user, _kept
    if _is_of_user is None:
        file = getattr(sys.modules.get("__main__"), "__file__", None)
        if isinstance(file, str):
            _is_of_user = not any(part in os.path.abspath(file) for part in _LIBRARIES)
        else:
            _is_of_user = sys.argv[:1] in (["-c"], ["-"])  # a text; other than a notebook, whose kernel has arguments
    if _is_own or not _is_of_user:
        return None
    if not _GIVEN:
        return b""
    from perdure.config import secrets

    hide = secrets.redactor()  # another one as soon as other values are secret
    kept = _kept
    if kept is None or kept[0] is not hide or kept[1] != _GIVEN:
        from perdure.config.kept_command_line import CommandLine

        kept = _kept = hide, list(_GIVEN), CommandLine.of(_GIVEN, _FOLDER).packed()
    return kept[2]


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


class _Line(list[str]):
    """`sys.argv` in a program of perdure's own: that of the run that is executed here, else that of the load.

    While `reads` is set, it notes who looks for arguments.
    """

    reads: Reads | None = None

    def _now(self) -> list[str]:
        if self.reads is not None:
            self.reads.note(sys._getframe(2))
        name = list.__getitem__(self, slice(0, 1))
        line = _of_run.get()
        return list.__getitem__(self, slice(None)) if line is None else [*name, *line.arguments()]

    def __len__(self) -> int:
        return len(self._now())

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __contains__(self, item: object) -> bool:
        return item in self._now()

    def __eq__(self, other: object) -> bool:
        return self._now() == other

    def __add__(self, other: Any) -> Any:
        return self._now() + other

    def __repr__(self) -> str:
        return repr(self._now())

    def copy(self) -> list[str]:
        return self._now()

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: Any) -> Any:
        if index == 0:
            return super().__getitem__(index)
        return self._now()[index]

    __hash__ = None


@contextmanager
def loading(file: str, line: CommandLine | None = None) -> Iterator[Reads]:
    """While a script is loaded: what it sees as its command line, and whether it looks for that.

    In a program of perdure's own it sees `line`, or no arguments, from then on, too. In a script's own process, and in
    those that make attempts for one, it sees what that was started with, unless a line is given.

    Args:
        file: of the script.
        line: that of the run for which it is loaded.
    """
    reads = Reads()
    if not _is_own and line is None:
        yield reads
        return
    before = sys.argv
    seen = _Line([file, *(() if line is None or line.withheld else line.arguments())])
    seen.reads = reads
    sys.argv = seen
    try:
        yield reads
    finally:
        seen.reads = None
        if not _is_own:
            sys.argv = before
        elif sys.argv is not seen:  # the script has put another in its place: the next one is not to see that
            sys.argv = seen


def show(file: str, line: CommandLine | None) -> None:
    """In a program of perdure's own: what the code of a script that is loaded sees from now on."""
    if _is_own:
        sys.argv = _Line([file, *(() if line is None or line.withheld else line.arguments())])


@contextmanager
def of_run(line: CommandLine | None) -> Iterator[None]:
    """While a run is executed here: what its code sees as its command line, besides others in other threads.

    Args:
        line: that of the run; None: as the script was loaded.
    """
    token = _of_run.set(line)
    try:
        yield
    finally:
        _of_run.reset(token)


def packed() -> list[bytes]:
    """The command line of this process, as another one is to have it."""
    return [each.encode("utf-8", "surrogatepass") for each in list(sys.argv) if isinstance(each, str)]


def take(line: Sequence[bytes]) -> None:
    """Have this command line from now on: `packed` of another process."""
    sys.argv[:] = [each.decode("utf-8", "surrogatepass") for each in line]
    _GIVEN[:] = sys.argv[1:]
