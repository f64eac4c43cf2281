"""Large payloads, kept once: their pieces in a table of their own, found by digest (core/values/pieces.py cuts them).

A piece is written in the transaction of the first row that needs it, before the row, so that no row points at nothing.
It goes with the last run that uses it. Checksums of rows are over what is stored in the row, the manifest; a piece is
checked against its digest whenever it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from perdure.core.letter_record import LetterRecord
from perdure.core.records import INPUT, NAME, OUTPUT, RUN, AttemptRecord, Row, RunRecord, StepRecord, sealed_row
from perdure.core.values import artifact_names
from perdure.core.values.extensions import STAND_IN, Ext, encode
from perdure.core.values.pieces import (
    IN_FILE,
    INLINE,
    Large,
    Piece,
    cut,
    digest,
    in_file,
    is_apart,
    manifest,
    manifest_of,
    split_digests,
)
from perdure.errors import StateCorrupt, StateError
from perdure.store import artifacts
from perdure.store.rows import sealed
from perdure.store.statements import load

_SQL = load("pieces.sql")

R = TypeVar("R", StepRecord, AttemptRecord, RunRecord, LetterRecord)

_PAYLOADS: dict[type, tuple[str, ...]] = {
    StepRecord: ("input", "output"),
    AttemptRecord: ("input",),
    RunRecord: ("input", "output"),
    LetterRecord: ("input", "result"),
}

Pieces = list[tuple[int, dict[bytes, bytes]]]
"""The pieces that rows need, by the number of their run."""

Files = list[tuple[int, str, bytes]]
"""The payloads that lie in files of their own: the number of the run, the name of the file, and what it holds."""

_MOST_RECENT = 4
_MOST_REMEMBERED = 1 << 24
_recent: dict[tuple[int, str, int], list[Piece]] = {}
"""By run, step and place: the pieces of the last payload there. The next one often begins in the same way."""


# -- writing ----------------------------------------------------------------------------------------------------------


def set_apart(rows: Sequence[Row]) -> tuple[list[Row], Pieces, Files]:
    """Rows of the step table with their large payloads replaced by manifests, and the pieces and files of these."""
    small: list[Row] = []
    pieces: Pieces = []
    files: Files = []
    for row in rows:
        payloads = [row[INPUT], row[OUTPUT]]
        for place, payload in enumerate(payloads):
            if len(payload) > INLINE and type(payload) is Large:
                payloads[place], name = in_file(payload)
                files.append((row[RUN], name, payload))
            elif len(payload) > INLINE:
                label = (row[RUN], row[NAME], place)
                cut_up = cut(payload, _recent.pop(label, ()))
                if len(payload) <= _MOST_REMEMBERED:
                    _recent[label] = cut_up
                    for old in list(_recent)[:-_MOST_RECENT]:  # a copy: other threads come here too
                        _recent.pop(old, None)
                payloads[place], found = manifest_of(len(payload), cut_up)
                pieces.append((row[RUN], found))
        given, output = payloads
        small.append(sealed_row((*row[:INPUT], given, output, *row[OUTPUT + 1 :])))
    return small, pieces, files


def add(connection: apsw.Connection, pieces: Pieces) -> None:
    """Write down pieces, and who uses them. Inside a transaction, before the rows that need them."""
    for rid, found in pieces:
        for key, data in found.items():
            if connection.execute(_SQL["has"], (key,)).fetchone() is None:
                connection.execute(_SQL["add"], (key, data))
            connection.execute(_SQL["use"], sealed(rid, key))


def keep(connection: apsw.Connection, rid: int, payload: bytes) -> bytes:
    """What is to be stored in a row of that run for a payload: itself, or a manifest. Inside a transaction."""
    if artifact_names.seen:
        use_artifacts(connection, [(rid, name) for name in artifact_names.named_in(payload)])
    if len(payload) <= INLINE:
        return payload
    stored, found = manifest_of(len(payload), cut(payload))
    add(connection, [(rid, found)])
    return stored


def artifacts_of(rows: Sequence[Row]) -> list[tuple[int, str]]:
    """The artifacts that rows of the step table name, each with the number of the run."""
    return [
        (row[RUN], name)
        for row in rows
        for payload in (row[INPUT], row[OUTPUT])
        for name in artifact_names.named_in(payload)
    ]


def use_artifacts(connection: apsw.Connection, used: Sequence[tuple[int, str]]) -> None:
    """Write down which runs use which artifacts. Inside a transaction."""
    connection.executemany(_SQL["use_artifact"], [sealed(rid, name) for rid, name in used])


def artifacts_used_by(connection: apsw.Connection, rid: int) -> list[str]:
    """The artifacts that rows of a run name."""
    return [name for (name,) in connection.execute(_SQL["artifacts_of"], (rid,))]


def share(connection: apsw.Connection, source: int, rid: int) -> None:
    """The run `rid` holds rows of the run `source` now: it uses what that one uses. Inside a transaction."""
    used: list[Any] = connection.execute(_SQL["used_by"], (source,)).fetchall()
    connection.executemany(_SQL["use"], [sealed(rid, key) for (key,) in used])
    use_artifacts(connection, [(rid, name) for name in artifacts_used_by(connection, source)])


def release(connection: apsw.Connection, rid: int) -> list[str]:
    """A run is gone, with all its rows: remove what no other one uses. Inside a transaction.

    Returns:
        The artifacts that no run uses any more, whose files are to be removed after the commit (store/artifacts.py).
    """
    used: list[Any] = connection.execute(_SQL["used_by"], (rid,)).fetchall()
    connection.execute(_SQL["release"], (rid,))
    connection.executemany(_SQL["drop_unused"], used)
    names = artifacts_used_by(connection, rid)
    connection.execute(_SQL["release_artifacts"], (rid,))
    return [name for name in names if connection.execute(_SQL["artifact_used"], (name,)).fetchone() is None]


# -- reading ----------------------------------------------------------------------------------------------------------


def needed(record: StepRecord | AttemptRecord | RunRecord | LetterRecord) -> bool:
    """Are pieces needed to put the record together?"""
    payloads = (getattr(record, field) for field in _PAYLOADS[type(record)])
    return any(payload is not None and is_apart(payload) for payload in payloads)


def whole(
    connection: apsw.Connection, record: R, path: Path, *, inputs: bool = True, remake: str = "", shown: bool = False
) -> R:
    """A record with its large payloads put together.

    Args:
        connection: to the state file.
        record: as it is stored.
        path: the state file, for messages.
        inputs: also the inputs.
        remake: the command that makes the record again, if one is known.
        shown: for people: in the place of what cannot be read stands why.

    Raises:
        StateCorrupt: a piece is gone, or is not what was written.
        StateIO: the file of one cannot be read.
    """
    found = {}
    for field in _PAYLOADS[type(record)]:
        payload = getattr(record, field)
        if payload is not None and is_apart(payload) and (inputs or field != "input"):
            try:
                found[field] = _join(connection, payload, f"the {_CALLED[field]} of {_label(record)}", path, remake)
            except StateError as lost:
                if not shown:
                    raise
                found[field] = _instead(lost.what.partition(":")[0])
            except ValueError as damage:
                if shown:
                    found[field] = _instead(f"the {field} of {_label(record)} is damaged")
                    continue
                raise StateCorrupt(
                    f"the {field} of {_label(record)} is damaged: {damage}: {path}",
                    "see `perdure doctor`, or restore a backup: the file was damaged or edited from outside",
                ) from None
    return msgspec.structs.replace(record, **found) if found else record


def joined(connection: apsw.Connection, payload: bytes, path: Path) -> bytes | None:
    """A payload put together; None of what lies in a file of its own, or cannot be read."""
    if not is_apart(payload):
        return payload
    try:
        return None if manifest(payload).level == IN_FILE else _join(connection, payload, "", path, "")
    except ValueError:
        return None


def complete(
    connection: apsw.Connection, record: StepRecord | AttemptRecord | RunRecord | LetterRecord, path: Path
) -> bool:
    """Are all pieces and files of a record of that state file there? They are looked for, and not read."""
    for field in _PAYLOADS[type(record)]:
        payload = getattr(record, field)
        if payload is None or not is_apart(payload):
            continue
        try:
            apart = manifest(payload)
            if apart.level == IN_FILE:
                if not artifacts.is_there(path, apart.digests.hex()):
                    return False
            elif not all(connection.execute(_SQL["has"], (key,)).fetchone() for key in _digests(connection, payload)):
                return False
        except ValueError:
            return False
    return True


def check(connection: apsw.Connection, after: bytes, most: int) -> list[tuple[bytes, bool]]:
    """The digests of up to `most` pieces behind `after`, and whether each is as it was written."""
    rows: list[Any] = connection.execute(_SQL["walk"], (after, most)).fetchall()
    return [(key, type(data) is bytes and digest(data) == key) for key, data in rows]


def uses(connection: apsw.Connection, after: tuple[float, bytes], most: int) -> list[Any]:
    """Up to `most` rows that say which run uses which piece, behind one of these."""
    return connection.execute(_SQL["uses_after"], (*after, most)).fetchall()


_CALLED = {"input": "input", "output": "result", "result": "result"}


def _instead(text: str) -> bytes:
    return encode(Ext(STAND_IN, text.encode()))


def _join(connection: apsw.Connection, payload: bytes, what: str, path: Path, remake: str) -> bytes:
    apart = manifest(payload)
    size = apart.size
    if apart.level == IN_FILE:
        return artifacts.read(apart.digests.hex(), size, what, path, remake=remake)
    parts, length = [], 0
    for key in _digests(connection, payload):
        part = _piece(connection, key)
        length += len(part)
        if length > size:
            break
        parts.append(part)
    if length != size:
        raise ValueError(f"{size} bytes were written, and another number is there")
    return b"".join(parts)


def _digests(connection: apsw.Connection, payload: bytes) -> Iterator[bytes]:
    """The digests of the pieces of a payload, in order."""
    top = manifest(payload)

    def below(digests: bytes, level: int) -> Iterator[bytes]:
        for key in split_digests(digests):
            if level == 0:
                yield key
            else:
                yield from below(_piece(connection, key), level - 1)

    # Pieces are never empty: a manifest that a hostile file nests cannot go on for ever.
    return islice(below(top.digests, top.level), top.size + 1)


def _piece(connection: apsw.Connection, key: bytes) -> bytes:
    row: Any = connection.execute(_SQL["get"], (key,)).fetchone()
    if row is None:
        raise ValueError("a piece of it is missing")
    (data,) = row
    if not data or type(data) is not bytes or digest(data) != key:
        raise ValueError("a piece of it is not what was written")
    return data


def _label(record: StepRecord | AttemptRecord | RunRecord | LetterRecord) -> str:
    match record:
        case StepRecord():
            return f"record #{record.seq} {record.name}"
        case AttemptRecord():
            return f"attempt {record.number} of {record.name}"
        case RunRecord():
            return f"run {record.id}"
        case LetterRecord():
            return f"dead letter {record.lid}"
