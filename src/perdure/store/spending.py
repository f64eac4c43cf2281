"""What attempts have spent, in the state file: a row, or a field of the record of their call.

Before the commit that saves how an attempt ended, what it has spent is in a file that a kill spares (`spend_file`). Who
takes over the runs of a process counts what is in its file and in no row: `token` and `serial` name both.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.core.execution.spending import NOTHING, Amounts, Bounds, CallId
from perdure.core.records import NO_KEY, StepRecord
from perdure.core.redaction.printable import one_line
from perdure.store.liveness import seems_alive
from perdure.store.rows import checked_of_run, corrupt, sealed, sound
from perdure.store.spend_file import SUFFIX, Noted, Spent, read
from perdure.store.statements import load

_SQL = load("spending.sql")

FIELDS = Bounds.__struct_fields__


_encode = msgspec.json.Encoder().encode
_parse = msgspec.json.Decoder(tuple[int, int, int, int, int, str]).decode

IN_RECORDS = ""
"""The token of rows that have spent nothing: they say that records of their run do (`step.spent`)."""


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
        if token == own or seems_alive(state, token):
            continue
        if path.is_symlink():  # no process has made it
            taken.append(path)
            continue
        try:
            found = read(path)
        except OSError as error:
            import logging

            logging.getLogger("perdure").warning(
                "what a process has spent that was killed cannot be read, and is not counted: %s (%s)",
                one_line(str(path)),
                error.strerror,
            )
            continue
        for spent in found:
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


def text_of(noted: Noted, ms: int) -> str:
    """How the record of a call says what it has spent."""
    return _encode((noted.serial, noted.usd, noted.tokens, noted.calls, ms, noted.ledgers)).decode()


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
