"""What SQLite and the system report of a state file, as an error of perdure's: what happened, and what to do."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from conftest import replace
from perdure.config import os_errors
from perdure.errors import (
    DiskFull,
    NotStorable,
    OptionError,
    StateBusy,
    StateCorrupt,
    StateError,
    StateForeign,
    StateIO,
    StateReadOnly,
)
from perdure.store.runs import Store
from perdure.store.sqlite_errors import refuse_argument, translate, translated

PATH = Path("/there/state.db")


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (apsw.FullError("x"), DiskFull, "no space is left"),
        (apsw.ReadOnlyError("x"), StateReadOnly, "cannot be written"),
        (apsw.PermissionsError("x"), StateReadOnly, "cannot be written"),
        (apsw.CantOpenError("x"), StateReadOnly, "cannot be written"),
        (apsw.BusyError("x"), StateBusy, "kept the state file locked"),
        (apsw.LockedError("x"), StateBusy, "kept the state file locked"),
        (apsw.ProtocolError("x"), StateBusy, "kept the state file locked"),
        (apsw.CorruptError("x"), StateCorrupt, "is damaged or truncated"),
        (apsw.NotADBError("x"), StateForeign, "not a state file"),
        (apsw.FormatError("x"), StateForeign, "not a state file"),
        (apsw.SQLError("x"), StateCorrupt, "does not hold what perdure wrote"),
        (apsw.ConstraintError("x"), StateCorrupt, "does not hold what perdure wrote"),
        (apsw.MismatchError("x"), StateCorrupt, "does not hold what perdure wrote"),
        (apsw.IOError("x"), StateIO, "the system reported an error"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_each_error_of_sqlite_is_named(error: apsw.Error, kind: type[StateError], says: str) -> None:
    """With the file, what SQLite said, and a way out."""
    found = translate(error, PATH)
    assert type(found) is kind
    assert says in found.what
    assert f"{PATH} (x)" in found.what
    assert found.hint
    with pytest.raises(kind) as caught, translated(PATH):
        raise error
    assert caught.value.__cause__ is error


def test_an_error_of_a_device_without_room_is_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite cannot even open beside the file is no broken disk then."""
    replace(monkeypatch, os_errors.os, "statvfs", lambda _: SimpleNamespace(f_bavail=1, f_frsize=4_096))
    assert type(translate(apsw.IOError("x"), PATH)) is DiskFull


def test_errors_of_the_system_and_of_texts_are_named_too() -> None:
    """What is perdure's already, or the program's own, comes through as it is."""
    with pytest.raises(DiskFull), translated(PATH):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(StateCorrupt), translated(PATH):
        b"\xff".decode()
    with pytest.raises(OptionError, match="not UTF-8"), translated(PATH):
        "\ud800".encode()
    own = StateIO("mine", "do this")
    for error in (own, KeyError("x"), OverflowError("of the program")):
        with pytest.raises(type(error)) as caught, translated(PATH):
            raise error
        assert caught.value is error


def test_what_sqlite_cannot_take_is_the_callers() -> None:
    """A number of more than 64 bits, as `perdure dlq show` may be given; another overflow is not about that."""
    with pytest.raises(OptionError, match="64 bits"):
        refuse_argument(OverflowError("int too big to convert"))
    refuse_argument(OverflowError("something else"))


def test_a_failed_write_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    """A value beyond SQLite's limit is none that can be stored; an error of the program inside a write is its own."""
    store = Store(tmp_path / "state.db")
    try:

        def fails(error: Exception) -> None:
            def operation(connection: apsw.Connection) -> None:
                connection.execute("DELETE FROM exempt")
                raise error

            store.journal.write((), operation)

        with pytest.raises(NotStorable):
            fails(apsw.TooBigError("string or blob too big"))
        with pytest.raises(StateCorrupt):
            fails(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "damaged"))
        with pytest.raises(KeyError):
            fails(KeyError("own"))
        assert not store.journal._connection.in_transaction
        assert store.runs() == []
    finally:
        store.close()
