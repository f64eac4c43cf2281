"""A run that keeps failing is set aside, so that it does not keep others from running."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.errors import OptionError, RunError


def test_a_run_that_keeps_failing_is_parked(machine: Machine) -> None:
    """After so many failures the next call starts a new run; the old one can still be resumed by its name."""
    fails = [True]
    made: list[int] = []

    @step(name="first")
    def first() -> int:
        made.append(1)
        return 1

    @step(name="second", retry=None)
    def second() -> int:
        if fails:
            raise Trouble("again")
        return 2

    @workflow(park_after=3)
    def flow() -> int:
        return first() + second()

    for _ in range(3):
        with pytest.raises(Trouble) as caught:
            flow()
        machine.boot()
    assert machine.runs() == [("flow", "parked")]
    assert any("failed too often" in note for note in caught.value.__notes__)
    letters = machine.engine.store.journal.read(lambda c: c.execute("SELECT seq, status FROM dead_letter").fetchall())
    assert letters == [(0, "parked")]

    with pytest.raises(Trouble):
        flow()
    assert machine.runs() == [("flow", "parked"), ("flow", "failed")]
    assert made == [1, 1]

    fails.clear()
    machine.boot()
    parked = machine.engine.store.runs(status="parked")[0]
    from perdure.core.execution.identity import identify

    assert machine.engine.run(identify(flow._spec, (), {}), script=flow._spec.file, resume=parked.id) == 3
    assert made == [1, 1]
    letters = machine.engine.store.journal.read(lambda c: c.execute("SELECT seq, status FROM dead_letter").fetchall())
    assert letters == [(0, "resolved")]


def test_a_named_run_that_is_parked_says_so(machine: Machine) -> None:
    """An id stands for one run for ever: calling it again does not start another."""

    @workflow(park_after=1)
    def flow() -> None:
        raise Trouble("no")

    named = flow.with_options(id="one")
    with pytest.raises(Trouble):
        named()
    with pytest.raises(RunError, match="parked"):
        named()
    assert machine.runs() == [("flow", "parked")]


def test_a_parked_run_that_fails_again_stays_one_letter(machine: Machine) -> None:
    """Its letter is parked again."""
    from perdure.core.execution.identity import identify

    @workflow(park_after=1)
    def flow() -> None:
        raise Trouble("no")

    with pytest.raises(Trouble):
        flow()
    machine.boot()
    id = machine.engine.store.runs()[0].id
    with pytest.raises(Trouble):
        machine.engine.run(identify(flow._spec, (), {}), script=flow._spec.file, resume=id)
    assert machine.runs() == [("flow", "parked")]
    letters = machine.engine.store.journal.read(lambda c: c.execute("SELECT seq, status FROM dead_letter").fetchall())
    assert letters == [(0, "parked")]


@pytest.mark.parametrize("times", [0, -1, True, "3", 1.5])
def test_a_bad_number_is_refused(times: Any) -> None:
    """When the workflow is defined."""
    with pytest.raises(OptionError):
        workflow(park_after=times)(lambda: None)
