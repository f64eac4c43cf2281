"""A flipped bit in what a record is found by: the records behind it are not lost without a word, and made again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from listed_runs import Listed

from conftest import Machine, replace
from perdure import step, workflow
from perdure.core.execution.run_refusals import with_way_out
from perdure.engines.local import engine as local
from perdure.engines.local.record_reader import RecordReader
from perdure.errors import StateCorrupt
from perdure.store import record_index
from perdure.store.runs import Store

RUNS, STEPS = 5, 6


@pytest.fixture
def whole(machine: Machine) -> bytes:
    """A state file of some runs, of which each has the same number of records."""

    @step(retry=None, name="pay")
    def pay(n: int) -> int:
        return n

    @workflow(name="main")
    def main(k: int) -> None:
        for n in range(STEPS):
            pay(k * 100 + n)

    for k in range(RUNS):
        main(k)
    path = machine.engine.store.path
    local.close_all()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def lazily(store: Store, rid: int) -> list[int]:
    record_index.refuse_misplaced(store.journal, rid, store.path)
    last = record_index.last_of_calls(store.journal, rid)
    reader = RecordReader(store, rid, -1 if last is None else last)
    found: list[int] = []
    while (page := reader.next_page()) is not None:
        found += page[0]
    return found


def whole_index(store: Store, rid: int) -> list[int]:
    record_index.refuse_misplaced(store.journal, rid, store.path)
    return [row[0] for row in store.index(rid)]


def cells(whole: bytes, rid: int) -> list[int]:
    """Where the number of the run stands in its records: a byte, then the number of the record, and the name.

    Not in the first one: its number takes no byte.
    """
    found = [at for at in range(len(whole) - 5) if whole[at] == rid and whole[at + 2 : at + 5] == b"pay"]
    assert len(found) == STEPS - 1
    return found


@pytest.mark.parametrize("read", [lazily, whole_index])
@pytest.mark.parametrize("rid", [3, RUNS])
def test_a_record_whose_run_is_flipped_hides_no_others(
    whole: bytes, tmp_path: Path, rid: int, read: Callable[[Store, int], list[int]]
) -> None:
    """Each bit of each: all records of the run are read, or the file is refused.

    If others are hidden, the command that ends a damaged run is not named: it is refused too, as they may be done.
    """
    path, refused, errors = tmp_path / "flipped.db", 0, list[StateCorrupt]()
    for at in cells(whole, rid):
        for bit in range(8):
            data = bytearray(whole)
            data[at] ^= 1 << bit
            path.write_bytes(data)
            store = Store(path)
            try:
                assert len(read(store, rid)) == STEPS
            except StateCorrupt as error:
                refused += 1
                errors.append(with_way_out(error, "main-1"))
            finally:
                store.close()
    assert refused == (STEPS - 1) * 8
    hiding = [error.hint for error in errors if "out of its place" in error.what]
    assert hiding
    assert not [hint for hint in hiding if "perdure cancel" in hint]


def test_a_damaged_record_of_another_run_stops_no_other(whole: bytes, tmp_path: Path) -> None:
    """If it is in its place, as the last of the run before or the first of the one behind."""
    path = tmp_path / "flipped.db"
    last_before = max(cells(whole, 2), key=lambda at: whole[at + 1]) + 2
    first_behind = whole.index(b"\0\x04pay") + 2  # the end of its header, and the number of its run
    for neighbour, name in ((2, last_before), (4, first_behind)):
        data = bytearray(whole)
        data[name] ^= 1
        path.write_bytes(data)
        store = Store(path)
        assert len(lazily(store, 3)) == len(whole_index(store, 3)) == STEPS
        with pytest.raises(StateCorrupt):
            whole_index(store, neighbour)
        store.close()


def test_a_page_that_leads_back_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flipped bit in a page of the file makes the same rows come again and again: that is named, and not read for
    ever."""
    listed = Listed(tmp_path / "state.db")
    listed.steps(listed.run("run-1"), "load", "send")
    store = listed.store
    rows, index = store.records(1), record_index.page(store.journal, 1, store.path, -1)
    replace(monkeypatch, type(store), "records", lambda *_: rows)
    replace(monkeypatch, record_index, "page", lambda *_: index)
    for look in (store.all_records(1), record_index.pages(store.journal, 1, store.path)):
        with pytest.raises(StateCorrupt):
            list(islice(look, 100))
