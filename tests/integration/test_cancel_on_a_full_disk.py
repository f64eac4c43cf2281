"""A run is cancelled where the disk becomes full: what is noted of that is said."""

from __future__ import annotations

from typing import Any

import apsw
import pytest

import perdure
from conftest import Machine
from perdure import workflow
from perdure.errors import StateError, Suspended


def test_that_the_run_is_to_end_is_said_where_its_end_cannot_be_written(machine: Machine) -> None:
    """The request is in the file, so that the next life ends the run: it must not look as if nothing had happened."""

    @workflow(name="full.waits")
    def waits() -> None:
        perdure.sleep("2h")

    with pytest.raises(Suspended):
        waits()
    journal, commits = machine.engine.store.journal, 0

    def full(batch: Any, done: bool) -> None:
        """The second commit, and those after it, find no room."""
        nonlocal commits
        commits += not done
        if commits > 1 and not done:
            raise apsw.FullError("database or disk is full")

    journal.around = full
    run = machine.engine.store.runs()[0]
    with pytest.raises(StateError) as refused:
        machine.engine.cancel(run.id, lambda _: None)
    assert refused.value.code == "disk-full"
    (note,) = refused.value.__notes__
    assert f"that run {run.id} is to end is in the file" in note
    machine.boot()
    assert machine.engine.store.run(run.id).stop is not None
