"""Beyond the bound the oldest dead letters are evicted, and the log says so."""

from __future__ import annotations

import logging

import pytest
from letter_steps import broken, redrive, reset, send

from conftest import Machine
from perdure import workflow
from perdure.store import dead_letters
from perdure.store.dead_letters import Filter


@pytest.fixture(autouse=True)
def _fresh() -> None:
    reset()


def test_the_oldest_make_room_and_the_log_says_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the bound the oldest are evicted, with their attempts, and never silently; what runs see stays."""
    monkeypatch.setenv("PERDURE_DEAD_LETTERS", "3")
    broken.update(range(5))

    @workflow(name="full")
    def full() -> int:
        return len(send.map(range(5)).dead)

    with caplog.at_level(logging.WARNING, "perdure"):
        assert full.with_options(id="full")() == 5
    store = machine.engine.store
    assert dead_letters.totals(store) == {"parked": 3, "evicted": 2}
    assert [one.lid for one in dead_letters.find(store, Filter(status="evicted"))] == [1, 2]
    assert sorted({one.number for one in store.attempt_records(1)}) == [1, 2]
    assert len(store.attempt_records(1)) == 6
    said = [record.getMessage() for record in caplog.records if "make room" in record.getMessage()]
    assert len(said) == 2
    assert redrive(machine, 1)[0].status == "refused"
