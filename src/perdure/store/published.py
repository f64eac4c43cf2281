"""What runs publish: values by name, the last one of each, for whoever looks. Reading needs neither code nor a process.

They are kept with the root, under whose id people know the run.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import apsw

from perdure.core.records import StepRecord, is_time
from perdure.core.signal_size import refuse_large
from perdure.core.values import codec
from perdure.store import pieces
from perdure.store.group_commit import Operation
from perdure.store.rows import checked_of_run, corrupt, sealed, sound
from perdure.store.runs import Store
from perdure.store.signals import root_of
from perdure.store.statements import load

_SQL = load("published.sql")


class Published(NamedTuple):
    """A value that a run has published, packed; `stamp` is when, in seconds since the epoch."""

    run: int
    name: str
    value: bytes
    stamp: float
    crc: int


def put(rid: int, name: str, value: bytes, now: float) -> Operation:
    """An operation that publishes a value, in the place of the one that the run has published under this name before.

    Args:
        rid: the number of the root.
        name: of the value.
        value: packed.
        now: in seconds since the epoch.

    Raises:
        TooLarge: at once, if the value is.
    """
    refuse_large(f"the value published as {name!r}", value)
    statement = put_soon(rid, name, value, now)

    def operation(connection: apsw.Connection) -> None:
        connection.execute(*statement)

    return operation


def put_soon(rid: int, name: str, value: bytes, now: float) -> tuple[str, tuple[Any, ...]]:
    """The same as a statement, for `Journal.ahead`: it is carried out with the next commit of the process."""
    return _SQL["put"], sealed(rid, name, value, float(now))


def get(store: Store, run: str, name: str) -> Published | None:
    """What a run has published last under a name; None if it has not, yet.

    Args:
        store: the state file.
        run: the id of the run, of a child of it, or of a run that it is a fork of.
        name: of the value.

    Raises:
        NotFound: there is no run of that id.
        StateCorrupt: the row is not as it was written.
    """

    def question(connection: apsw.Connection) -> Published | None:
        row: Any = connection.execute(_SQL["get"], (root_of(store, connection, run).rid, name)).fetchone()
        return None if row is None else _checked(row, store)

    found: Published | None = store.journal.read(question)
    return found


def of_run(store: Store, rid: int) -> list[Published]:
    """All that a root has published, by name.

    Raises:
        StateCorrupt: a row is not as it was written.
    """
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL["of_run"], (rid,)).fetchall())
    return [_checked(row, store) for row in rows]


def hand_on(store: Store, connection: apsw.Connection, source: int, fork: int, before: int, until: float) -> None:
    """A fork has what its source, a root, had published before its point; what it has published since is made again.

    What a workflow has published stands in its records. Of what a step has, only the last value is known.

    Args:
        store: the state file.
        connection: inside of a transaction.
        source: the number of the root.
        fork: that of its fork, which has the records.
        before: the source's records below this number lie before the point.
        until: the moment at which the fork begins, in seconds since the epoch.

    Raises:
        StateCorrupt: a row is not as it was written.
    """
    later = set()
    for row in connection.execute(_SQL["of_run"], (source,)).fetchall():
        found = _checked(row, store)
        if found.stamp > until:
            later.add(found.name)
        else:
            connection.execute(*put_soon(fork, found.name, found.value, found.stamp))
    if not later:
        return
    for row in connection.execute(_SQL["publishings"], (source, fork, before, until)).fetchall():
        record = pieces.whole(connection, checked_of_run(StepRecord, row, store.path), store.path)
        (name,), _ = codec.unpack_inputs(record.input, (), owner=record.name)
        under, output = _MAP_OF_ONE + codec.pack_value(name, owner=record.name), record.output or b""
        if name in later and output.startswith(under):  # else of an earlier version
            connection.execute(*put_soon(fork, name, output[len(under) :], record.started))


_MAP_OF_ONE = b"\x81"
"""How MessagePack begins a map of one entry: such a record holds the value under its name."""


def _checked(row: Any, store: Store) -> Published:
    if not sound(row) or not is_time(row[3]):
        raise corrupt(store.path)
    return Published(*row)
