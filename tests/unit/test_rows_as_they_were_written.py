"""Rows of the state file are records if each says what its checksum says; else they are named, or looked at closely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_claims import RUN

from perdure.core.records import Row, RunRecord, StepRecord, sealed_row
from perdure.core.values import codec
from perdure.core.values.pieces import MAY_BE_APART
from perdure.errors import StateCorrupt
from perdure.store.rows import all_plain, checked, checked_index, checked_of_run, checked_steps, intact, intact_of_run

PATH = Path("/state.db")
OUTPUT = codec.pack_value("out", owner="a test")


def row(seq: int = 1, **changed: Any) -> Row:
    names = ("run", "seq", "name", "key", "n", "status", "input", "output", "started", "ms", "attempts", "crc", "kind")
    values = {"run": 1, "seq": seq, "name": "work", "key": bytes(16), "n": 0, "status": "done", "input": b"in"}
    values |= {"output": OUTPUT, "started": 5.0, "ms": 1, "attempts": 1, "crc": 0, "kind": "step"} | changed
    return sealed_row(tuple(values[name] for name in names))  # type: ignore[arg-type]


def plain(*rows: Any) -> bool:
    return all_plain([(*each, None) for each in rows])


def test_first_calls_that_have_ended_well_are_plain() -> None:
    """All of them; one that is anything else is looked at more closely, and so is a page without any."""
    assert plain(row())
    assert plain(row(), row(2), row(3, kind="builtin"), row(4, started=0.0))
    assert not plain()
    for changed in (
        {"n": 1},
        {"status": "failed"},
        {"kind": "defer"},
        {"started": -1.0},
        {"started": 1e12},
        *({"output": head + b"x"} for head in MAY_BE_APART),
    ):
        assert not plain(row(), row(2, **changed)), changed
    assert not all_plain([(*row(), None), (*row(2), 1)]), "there is more to be said of it"


@pytest.mark.parametrize("column", range(13))
def test_a_row_of_which_a_column_was_changed_is_not_plain(column: int) -> None:
    """Nor is it a record."""
    sound = row()
    for other in (None, 7.5, "x", b"x"):
        changed = (*sound[:column], other, *sound[column + 1 :])
        if changed != sound:
            assert not plain(changed)
            assert intact_of_run(StepRecord, changed) is None
            with pytest.raises(StateCorrupt):
                checked_steps([sound, changed], PATH)
            with pytest.raises(StateCorrupt):
                checked_of_run(StepRecord, changed, PATH)


def test_rows_are_records() -> None:
    """Of a page, one by one, and of a run that was taken elsewhere."""
    first, second = row(), row(2, status="failed", kind="defer", started=-5.0)
    records = checked_steps([first, second], PATH)
    assert records == [checked_of_run(StepRecord, each, PATH) for each in (first, second)]
    assert [(record.seq, record.status, record.kind) for record in records] == [
        (1, "done", "step"),
        (2, "failed", "defer"),
    ]
    assert checked_steps([], PATH) == []
    assert intact_of_run(StepRecord, (2, *first[1:])) is None, "it is a row of another run"
    run = msgspec.structs.astuple(RUN.sealed())
    assert checked(RunRecord, run, PATH) == intact(RunRecord, run) == RUN.sealed()
    broken = msgspec.structs.astuple(msgspec.structs.replace(RUN.sealed(), workflow="another"))
    assert intact(RunRecord, broken) is None
    with pytest.raises(StateCorrupt):
        checked(RunRecord, broken, PATH)
    assert intact(RunRecord, run[:-20]) is None, "columns are missing"


def test_what_finds_records_is_checked_by_itself() -> None:
    """By the half of the checksum that is about it, whatever became of the rest."""
    rows = [(*each[:6], each[12], each[11]) for each in (row(), row(2, n=1), row(3, name="other"))]
    columns = checked_index(rows, PATH)
    assert [tuple(column) for column in columns] == list(zip(*(each[1:-1] for each in rows), strict=True))
    half = [(*rows[0][:-1], rows[0][-1] ^ 1), *rows[1:]]
    assert checked_index(half, PATH) == columns
    for column, other in (
        (0, 2),
        (1, 9),
        (2, "x"),
        (3, bytes(15) + b"x"),
        (4, 2),
        (5, "failed"),
        (6, "defer"),
        (4, "x"),
    ):
        with pytest.raises(StateCorrupt):
            checked_index([(*rows[0][:column], other, *rows[0][column + 1 :]), *rows[1:]], PATH)
