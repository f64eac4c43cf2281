"""What attempts spend: kept with the commit that saves how they ended, and before that in a file that a kill spares.

`perdure.spend` appends a line to `<state>-spend/<token>`: no flush is waited for, since what a process has written is
there when it is killed. Who takes over its runs counts what no row has. A row and its lines are one: `token` and
`serial` name them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import apsw
import msgspec

from perdure.config import ownership
from perdure.config.os_errors import append_whole
from perdure.core.execution.spending import NOTHING, Amounts, Bounds, CallId
from perdure.core.records import NO_KEY, StepRecord
from perdure.errors import StateIO
from perdure.store.liveness import lives
from perdure.store.rows import checked_of_run, corrupt, sealed, sound
from perdure.store.statements import load

_SQL = load("spending.sql")

SUFFIX = "-spend"
LONGEST = 1 << 20
"""Bytes of a file that is begun anew as soon as nothing is under way."""


FIELDS = Bounds.__struct_fields__


class Spent(msgspec.Struct, array_like=True):
    """What an attempt has spent so far. `ledgers` are the labels of the blocks that it counts for."""

    serial: int
    run: int
    name: str
    key: bytes
    n: int
    usd: int
    tokens: int
    calls: int
    ms: int
    ledgers: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Spent).decode
_parse = msgspec.json.Decoder(tuple[int, int, int, int, int, str]).decode

IN_RECORDS = ""
"""The token of rows that have spent nothing: they say that records of their run do (`step.spent`)."""


class SpendFile:
    """The lines of this process.

    Args:
        state: the state file.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state.with_name(state.name + SUFFIX)
        self._lock = threading.Lock()
        self._file = -1
        self._token = ""
        self._serial = 0
        self._size = 0
        self._open: set[int] = set()

    def begin(self, token: str) -> int:
        """A number for an attempt that spends."""
        with self._lock:
            if token != self._token:
                self._close()
                self._token = token
            self._serial += 1
            self._open.add(self._serial)
            return self._serial

    def note(self, spent: Spent) -> None:
        """Write down what an attempt has spent so far.

        Raises:
            StateIO: it cannot be.
        """
        body = _encode(spent)
        line = len(body).to_bytes(4, "little") + crc32(body).to_bytes(4, "little") + body
        with self._lock:
            try:
                if self._file < 0:
                    ownership.make_folder(self._folder)
                    self._file = ownership.make_file(self._folder / self._token, os.O_WRONLY | os.O_APPEND)
                append_whole(self._file, line)
                self._size += len(line)
            except OSError as error:
                raise StateIO(
                    f"what a step spends cannot be written: {self._folder} ({error.strerror})",
                    "see the space and the permissions of the folder, then run again",
                ) from error

    def saved(self, serial: int) -> None:
        """The attempt has ended, and is in the state file or about to be."""
        with self._lock:
            self._open.discard(serial)

    def shorten(self, pending: bool) -> None:
        """A transaction has committed: with nothing under way or `pending`, the lines so far are of no more use."""
        if self._file < 0 or pending or self._size <= LONGEST:
            return
        with self._lock:
            if self._file >= 0 and not self._open and self._size > LONGEST:
                os.ftruncate(self._file, 0)
                self._size = 0

    def close(self, pending: bool) -> None:
        """The process is about to end; with nothing under way or `pending`, all is saved that it has spent."""
        with self._lock:
            clean = not self._open and not pending
            token = self._token
            self._close()
            if clean and token:
                with suppress(OSError):
                    (self._folder / token).unlink()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        self._size = 0


def put(token: str, spent: Spent) -> tuple[str, tuple[Any, ...]]:
    """The statement that saves what an attempt has spent, and its values."""
    return _SQL["put"], sealed(token, *msgspec.structs.astuple(spent))


def take_over(connection: apsw.Connection, state: Path, own: str) -> list[Path]:
    """Save what processes have spent that were killed; returns their files, to be removed after the commit."""
    folder = state.with_name(state.name + SUFFIX)
    taken: list[Path] = []
    known: dict[int, set[Any]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        token = path.name
        if token == own or lives(state, token):
            continue
        for spent in _last_lines(path):
            saved: Any = connection.execute(_SQL["get"], (token, spent.serial)).fetchone()
            if saved is None and _identity(spent) not in _recorded(connection, spent.run, state, known):
                connection.execute(*put(token, spent))
        taken.append(path)
    return taken


def _recorded(connection: apsw.Connection, rid: int, state: Path, known: dict[int, set[Any]]) -> set[Any]:
    """What records of a run say. A call that spent in an earlier life has rows: the serial is of the last one."""
    if rid not in known:
        known[rid] = {_identity(each) for each in _of_records(connection, rid, state)}
    return known[rid]


def _identity(spent: Spent) -> tuple[str, bytes, int, int]:
    return spent.name, spent.key, spent.n, spent.serial


def _last_lines(path: Path) -> list[Spent]:
    """The last line of each attempt; a line that a kill cut short says nothing, and nothing stands behind it."""
    found: dict[int, Spent] = {}
    try:
        with open(os.open(path, os.O_RDONLY | ownership.NO_LINK), "rb") as file:
            data = file.read()
    except OSError:
        return []
    at = 0
    while len(data) - at >= 8:
        size, crc = int.from_bytes(data[at : at + 4], "little"), int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        if len(body) != size or crc32(body) != crc:
            break
        spent = _decode(body)
        found[spent.serial] = spent
        at += 8 + size
    return list(found.values())


def of_calls(connection: apsw.Connection, rid: int, path: Path) -> dict[CallId, Amounts]:
    """What each call of a run has spent.

    Raises:
        StateCorrupt: a row is not as it was written.
    """
    found: dict[CallId, Amounts] = {}
    for _, spent in _all(connection, "of_run", rid, path):
        call = (spent.name, spent.key, spent.n)
        found[call] = found.get(call, NOTHING) + _amounts(spent)
    return found


def of_children(connection: apsw.Connection, rid: int, path: Path) -> dict[str, Amounts]:
    """What each child run has spent, with its own children, by its id."""
    children: list[Any] = connection.execute(_SQL["children"], (rid,)).fetchall()
    return {id: of_family(connection, child, path) for child, id in children}


def of_ledger(connection: apsw.Connection, rid: int, label: str, path: Path) -> Amounts:
    """What counts for one block of a run."""
    amounts = NOTHING
    for _, spent in _all(connection, "of_family", rid, path):
        if label in spent.ledgers.split():
            amounts += _amounts(spent)
    return amounts


def of_family(connection: apsw.Connection, rid: int, path: Path) -> Amounts:
    """What a run has spent, with its child runs."""
    amounts = NOTHING
    for _, spent in _all(connection, "of_family", rid, path):
        amounts += _amounts(spent)
    return amounts


def _all(connection: apsw.Connection, query: str, rid: int, path: Path) -> Iterator[tuple[str, Spent]]:
    """What attempts have spent, with the tokens of their processes: from rows, and from records, which have none."""
    for row in connection.execute(_SQL[query], (rid,)).fetchall():
        spent = _checked(row, path)
        if row[0] == IN_RECORDS:
            yield from ((IN_RECORDS, each) for each in _of_records(connection, spent.run, path))
        else:
            yield str(row[0]), spent


def _of_records(connection: apsw.Connection, rid: int, path: Path) -> Iterator[Spent]:
    for row in connection.execute(_SQL["records"], (rid,)).fetchall():
        record = checked_of_run(StepRecord, row, path)
        serial, usd, tokens, calls, ms, labels = _parse(record.spent or "")
        yield Spent(serial, rid, record.name, record.key, record.n, usd, tokens, calls, ms, labels)


def text_of(spent: Spent) -> str:
    """How the record of a call says what it has spent."""
    about = (spent.serial, spent.usd, spent.tokens, spent.calls, spent.ms, spent.ledgers)
    return msgspec.json.encode(about).decode()


def mark(rid: int) -> tuple[str, tuple[Any, ...]]:
    """The statement that says that records of a run say what their calls have spent, and its values."""
    return put(IN_RECORDS, Spent(rid, rid, "", NO_KEY, 0, 0, 0, 0, 0, ""))


def raise_bounds(connection: apsw.Connection, rid: int, bounds: Bounds, path: Path) -> None:
    """The budgets of a run may spend so much from now on."""
    known = raised_bounds(connection, rid, path)
    values = [getattr(bounds, f) if getattr(bounds, f) is not None else getattr(known, f) for f in FIELDS]
    connection.execute(_SQL["put_bounds"], sealed(rid, *values))


def raised_bounds(connection: apsw.Connection, rid: int, path: Path) -> Bounds:
    """What the budgets of a run may spend at least.

    Raises:
        StateCorrupt: the row is not as it was written.
    """
    row: Any = connection.execute(_SQL["bounds"], (rid,)).fetchone()
    if row is None:
        return Bounds()
    if not sound(row):
        raise corrupt(path)
    return Bounds(*row[1:-1])


def rows(connection: apsw.Connection, after: tuple[str, float], most: int) -> list[Any]:
    """Up to `most` rows behind one of these."""
    return connection.execute(_SQL["walk"], (*after, most)).fetchall()


def copy(
    connection: apsw.Connection, source: int, rid: int, calls: Container[CallId], forks: Mapping[int, int], path: Path
) -> None:
    """A fork stands on calls of its source: what these have spent counts for it, and nothing else.

    Args:
        connection: to the state file.
        source: the number of the source.
        rid: the number of the fork.
        calls: those that the fork has taken over.
        forks: the number of the fork of each run whose blocks the calls may count for.
        path: of the state file.
    """
    for token, spent in _all(connection, "of_run", source, path):
        if token != IN_RECORDS and (spent.name, spent.key, spent.n) in calls:  # those of records are copied with them
            spent.run = rid
            spent.ledgers = _moved(spent.ledgers, forks)
            connection.execute(*put(f"{token}>{rid}", spent))
    if connection.execute(_SQL["get"], (IN_RECORDS, source)).fetchone() is not None:
        connection.execute(*mark(rid))
    if (raised := raised_bounds(connection, source, path)) != Bounds():
        connection.execute(_SQL["put_bounds"], sealed(rid, *msgspec.structs.astuple(raised)))


def count_for(connection: apsw.Connection, child: int, forks: Mapping[int, int], path: Path) -> None:
    """A fork has taken over a child run of its source: what that has spent counts for the blocks of the fork, too."""
    for token, spent in _all(connection, "of_family", child, path):
        labels = spent.ledgers.split()
        more = [new for label in labels if (new := _label_in(label, forks)) not in labels]
        if more and token != IN_RECORDS:  # those of records count for blocks of their own run only
            spent.ledgers = " ".join([*labels, *more])
            connection.execute(*put(token, spent))


def in_fork(text: str, forks: Mapping[int, int]) -> str:
    """What a record says that a fork takes over: it counts for the blocks of the fork."""
    *amounts, labels = _parse(text)
    return msgspec.json.encode((*amounts, _moved(labels, forks))).decode()


def _moved(labels: str, forks: Mapping[int, int]) -> str:
    return " ".join(_label_in(label, forks) for label in labels.split())


def _label_in(label: str, forks: Mapping[int, int]) -> str:
    run, _, number = label.partition(":")
    return f"{forks.get(int(run), int(run))}:{number}"


def _amounts(spent: Spent) -> Amounts:
    return Amounts(spent.usd, spent.tokens, spent.calls, spent.ms)


def _checked(row: Any, path: Path) -> Spent:
    if not sound(row):
        raise corrupt(path)
    return Spent(*row[1:-1])
