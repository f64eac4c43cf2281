"""SQLite's errors and the system's as errors of ours, which name the file and the way out."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import apsw

from perdure.config.os_errors import are_used_up, is_full, named, refused, used_up
from perdure.config.ownership import keeper
from perdure.errors import (
    DiskFull,
    OptionError,
    PerdureError,
    StateBusy,
    StateCorrupt,
    StateError,
    StateForeign,
    StateIO,
)
from perdure.store.connection import BUSY_MS
from perdure.store.state_files import JOURNALS


class translated:  # noqa: N801  used like a function: `with translated(path):`
    """Turn SQLite's errors and the system's into ours, naming the file and the way out."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Inside, they are turned."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Raise what an error of another kind means."""
        if error is None:
            return
        if isinstance(error, apsw.Error):
            raise translate(error, self._path) from error
        if isinstance(error, OSError) and not isinstance(error, PerdureError):
            raise named(error, self._path) from error
        if isinstance(error, UnicodeEncodeError | OverflowError):
            refuse_argument(error)
        if isinstance(error, UnicodeDecodeError):  # flipped bytes in a text, or in the name of a table
            raise translate(apsw.CorruptError(str(error)), self._path) from error


def refuse_argument(error: Exception) -> None:
    """Name what SQLite was asked with and cannot take: that is the caller's, and no damage of a file.

    Raises:
        OptionError: it is a number of more than 64 bits, or a text that is not UTF-8.
    """
    if isinstance(error, UnicodeEncodeError):
        raise OptionError(f"{error.object!r} is not UTF-8", "give a text that is") from error
    if isinstance(error, OverflowError) and "too big" in str(error):
        raise OptionError("a number that was given has more than 64 bits", "give a smaller one") from error


def translate(error: apsw.Error, path: Path) -> StateError:
    """The error of ours that says what an error of SQLite means for the user."""
    from perdure.store.damage import is_damaged

    if isinstance(error, apsw.CantOpenError | apsw.IOError) and are_used_up():
        return used_up(str(path))
    kind: type[StateError]
    match error:
        case apsw.FullError() | apsw.IOError() if isinstance(error, apsw.FullError) or is_full(path.parent):
            kind, what = DiskFull, "no space is left on the device of the state file"
            hint = "free some space and run again; everything saved is intact"
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.CantOpenError():
            files = (path, *(path.with_name(path.name + suffix) for suffix in (*JOURNALS, "-shm")))
            kept = next(filter(keeper, files), path)
            return refused(
                f"the state file cannot be written: {path} ({error})",
                kept,
                "check the permissions of the file and of its folder, or set PERDURE_STATE to another path",
            )
        case apsw.BusyError() | apsw.LockedError() | apsw.ProtocolError():
            kind, what = StateBusy, f"another process kept the state file locked for over {BUSY_MS // 1000} s"
            hint = "see who uses it with `perdure ps`; run again when it has ended"
        case apsw.CorruptError() if is_damaged(error, path):
            kind, what = StateCorrupt, "the state file is damaged or truncated"
            hint = "see `perdure doctor`; restore a backup, or run `perdure doctor --set-aside` to start over"
        case apsw.NotADBError() | apsw.FormatError():
            kind, what = StateForeign, "the file is not a state file of perdure"
            hint = "set PERDURE_STATE to another path, or move the file away"
        case apsw.SQLError() | apsw.ConstraintError() | apsw.SchemaChangeError() | apsw.MismatchError():
            kind, what = StateCorrupt, "the state file does not hold what perdure wrote"
            hint = "see `perdure doctor`; restore a backup, or run `perdure doctor --set-aside` to start over"
        case _:
            kind, what = StateIO, "the system reported an error on the state file"
            hint = "check the disk (dmesg), then run again; everything saved is intact"
    return kind(f"{what}: {path} ({error})", hint)
