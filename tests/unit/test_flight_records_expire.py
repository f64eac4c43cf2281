"""Records of killed runs that nobody goes on with do not add up: the newest stay, and no death is reported twice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from perdure.alerts.watchdog import report
from perdure.core.execution.run_effects import Start, Taken
from perdure.store import crashes, flight_record
from perdure.store.flight_recorder import Recorder
from perdure.store.group_commit import Operation
from perdure.store.runs import Store

KEY = b"k" * 16


def killed(state: Path, number: int) -> str:
    """A process takes a run of its own, and dies in a step; the token that it went by."""
    store = Store(state)
    id = f"nightly-{number}"
    path = str(state.with_name("nightly.py"))
    taken = store.journal.write((), store.begin(Start("nightly.py", path, id, KEY, b"", id, id=id, named=True), 1.0))
    assert isinstance(taken, Taken)
    token = store.holder.token
    recorder = Recorder(flight_record.folder_of(state), token, path, float(number))
    recorder.begin(id, "charge", KEY, 0, 1, 2.0)
    recorder.close_in_child()
    store.holder.close_in_child()  # the lock is free, its file stays
    store.close()
    return token


def test_the_newest_records_stay_and_no_death_is_reported_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an expired record said of a call is written down; an alert that comes later is about those that stayed."""
    monkeypatch.setattr(crashes, "KEPT", 3)
    state = tmp_path / "state.db"
    tokens = [killed(state, number) for number in range(1, 9)]
    store = Store(state)
    for _ in range(2):
        crashes.collect(store)
        left = {name.removesuffix(".rec") for name in os.listdir(flight_record.folder_of(state))}
        assert left == set(tokens[-3:])
    assert all(len(crashes.list_of(store, rid)) == 1 for rid in range(1, 9))
    assert report.report_at_start(store, ["exec:/bin/true"], 100.0) == 3
    assert report.report_at_start(store, ["exec:/bin/true"], 100.0) == 0
    store.close()


def test_what_is_left_is_looked_up_once_for_all_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start asks the state file as often with many records as with one."""
    asked: list[int] = []
    for most in (1, 6):
        state = tmp_path / f"{most}.db"
        for number in range(1, most + 1):
            killed(state, number)
        store = Store(state)
        asked.append(_reads_of_a_collect(store, monkeypatch))
        store.close()
    assert asked[0] == asked[1]


def _reads_of_a_collect(store: Store, monkeypatch: pytest.MonkeyPatch) -> int:
    reads, real = 0, store.journal.read

    def counted(question: Operation) -> Any:
        nonlocal reads
        reads += 1
        return real(question)

    with monkeypatch.context() as patch:
        patch.setattr(store.journal, "read", counted)
        crashes.collect(store)
    return reads
