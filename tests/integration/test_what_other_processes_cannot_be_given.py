"""A step in another process: what cannot reach it is refused in words at once, and what is its run's reaches it."""

from __future__ import annotations

import pytest
from own_process_steps import in_lock, of_secret, spends, square, taken, taken_back, which_tick

import perdure
from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.core.execution.idempotency import idempotency_key
from perdure.core.tick_verdicts import RunTick
from perdure.engines.interface import StepContext, here
from perdure.errors import NotStorable, UsageError


@workflow(lock="till")
def locks_in_another_process() -> int:
    return in_lock()


@workflow
def gives_a_secret() -> int:
    return of_secret(perdure.Secret("tulip-garden-walk"))


@workflow
def spends_in_other_processes() -> int:
    return len(spends.map(range(40), processes=2).dead)


squared = step(square, name="squared in another process", isolate=True, retry=None)


@workflow
def squares() -> int:
    return squared(3)


def test_a_step_is_found_that_is_made_of_a_function_of_another_module(machine: Machine) -> None:
    """Here, and not in the module of the function."""
    assert squares() == 9


@workflow
def takes_and_fails() -> None:
    perdure.defer(taken_back, 2)
    taken(1)
    raise Trouble


@workflow
def takes() -> None:
    perdure.defer(taken_back, 3)


def test_clean_ups_are_executed_there(machine: Machine) -> None:
    """Under the names and with the idempotency keys that they have in this process."""
    with pytest.raises(Trouble):
        takes_and_fails()
    takes()
    for number, name in enumerate(("undo:taken_back", "defer:taken_back")):
        run = machine.engine.store.runs()[1 - number]
        (record,) = [each for each in machine.engine.store.all_records(run.rid) if each.name == name]
        assert record.status == "done"
        assert idempotency_key(run.id, name, record.key, record.n).encode() in record.output


def test_the_lock_of_its_own_run_is_not_waited_for(machine: Machine) -> None:
    """The run would wait for itself."""
    with pytest.raises(UsageError, match=r"'till' is taken by run .* itself"):
        locks_in_another_process()


def test_a_secret_is_refused_before_anything_is_executed(machine: Machine) -> None:
    """Running the script again could not help: what is handed over is what is stored."""
    with pytest.raises(NotStorable, match="Secret is not stored") as refused:
        gives_a_secret()
    assert "read the secret in the step" in refused.value.hint
    assert machine.steps() == []


def test_a_misuse_of_perdure_ends_a_map(machine: Machine) -> None:
    """It is no item's fault: there are no dead letters."""
    with pytest.raises(UsageError, match="executed in another process"):
        spends_in_other_processes()
    assert [status for _, status in machine.steps() if status == "dead"] == []


def test_the_tick_of_its_run_reaches_it(machine: Machine) -> None:
    """It goes with the order."""
    context = StepContext("run", which_tick, 1, None)  # type: ignore[arg-type]
    context.ordered_tick = RunTick(0.0, "UTC", 2, None)
    token = here.set(context)
    try:
        tick = perdure.tick()
    finally:
        here.reset(token)
    assert tick is not None
    assert (tick.due.year, tick.missed) == (1970, 2)
