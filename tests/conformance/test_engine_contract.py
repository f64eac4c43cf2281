"""What the contract of `engines/interface.py` says about runs from the outside holds on every engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.bench import Bench, note, steps
from tests.conformance.conftest import Server

from perdure import step, workflow
from perdure.core.execution.spec import spec_of
from perdure.engines.features import Feature
from perdure.engines.interface import Engine
from perdure.engines.selection import capabilities_at, engine_at, records_at
from perdure.errors import Drift, NotFound, UsageError


@pytest.fixture(params=["local", "cluster"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Each engine in turn."""
    url = "local"
    if request.param == "cluster":
        server: Server = request.getfixturevalue("server")
        url = server.url()
    with Bench(url, tmp_path).in_force() as bench:
        yield bench


def engine_of(bench: Bench) -> Engine:
    return engine_at(bench.engine, bench._folder / "state.db")


def name(bench: Bench, what: str) -> str:
    """An id that no other test has on this cluster."""
    return f"{what}-{bench._folder.name}"


@step(retry=None)
def double(n: int) -> int:
    note("double", n)
    return 2 * n


@step(retry=None)
def fail(n: int) -> None:
    note("fail", n)
    raise ConnectionError(n)


@workflow
def inner(n: int) -> int:
    return double(n)


@workflow
def outer(n: int) -> int:
    return inner(n) + double(n)


@workflow
def failing(n: int) -> None:
    double(n)
    fail(n)


def never(*_: Any) -> None:
    raise AssertionError("there is nothing to clean up")


def test_records_are_those_of_the_run(bench: Bench) -> None:
    """The records of a run, and of its child, are found by its id; the engine and its address show the same."""
    id = name(bench, "outer")
    assert bench.run(outer, 3, id="outer") == 12
    with engine_of(bench).records(id) as found:
        run = found.run(id)
        assert (run.status, run.workflow) == ("done", "outer")
        assert sum(found.counts(run.rid).values()) == 2, "the child run and a step"
        (child,) = found.children(run.rid)
        assert found.run(child).status == "done"
    with records_at(bench.engine, bench._folder / "state.db", id) as found:
        assert found.run(id).status == "done"
    assert engine_of(bench).status(id) == "done"


def test_what_has_ended_is_not_cancelled(bench: Bench) -> None:
    """Cancelling a run that is done changes nothing, and says so."""
    assert bench.run(inner, 5, id="ended") == 10
    found = engine_of(bench).cancel(name(bench, "ended"), never)
    assert (found.was, found.outcome, found.missed) == ("done", "none", [])
    assert engine_of(bench).status(name(bench, "ended")) == "done"


def test_a_child_run_is_not_cancelled_by_itself(bench: Bench) -> None:
    """It ends with its parent: the request is refused."""
    assert bench.run(outer, 7, id="parent") == 28
    with engine_of(bench).records(name(bench, "parent")) as store:
        (child,) = store.children(store.run(name(bench, "parent")).rid)
    with pytest.raises(UsageError, match="child run"):
        engine_of(bench).cancel(child, never)


def test_what_is_not_there_is_not_found(bench: Bench) -> None:
    """No engine invents a run."""
    assert bench.run(inner, 1, id="other") == 2
    with pytest.raises(NotFound):
        engine_of(bench).status("no-such-run")
    with pytest.raises(NotFound):
        engine_of(bench).cancel("no-such-run", never)


def test_accepted_changes_are_not_held_against_the_script(bench: Bench) -> None:
    """A run whose script was edited goes on once its changes are accepted, and stops with Drift before."""

    def edition(call: int) -> Any:
        shift = [call]  # which can change, so that it is no input of the workflow

        @workflow(name="edited")
        def edited(n: int) -> None:
            double(n + shift[0])
            fail(n)

        return edited

    id = name(bench, "edited")
    assert isinstance(bench.run(edition(0), 4, id="edited"), ConnectionError)
    assert isinstance(bench.run(edition(1), 4, id="edited"), Drift)
    with engine_of(bench).records(id) as store:
        run = store.run(id)
    engine_of(bench).accept_changes(run)
    again = edition(1)
    with pytest.raises(ConnectionError):
        engine_of(bench).run(_call(again, 4), script=__file__, resume=id)
    assert ("double", 5) in steps()


def _call(made: Any, *args: Any) -> Any:
    from perdure.core.execution.identity import identify

    return identify(spec_of(made), args, {})


def test_a_failed_run_that_no_process_executes(bench: Bench) -> None:
    """Where a run can be ended for good from the outside, nothing resumes it; else it is left as it is."""
    assert isinstance(bench.run(failing, 9, id="failing"), ConnectionError)
    found = engine_of(bench).cancel(name(bench, "failing"), lambda run: None)
    assert found.was == "failed"
    if capabilities_at(bench.engine).supports(Feature.STATE_FILE):
        assert found.outcome == "ended"
        assert engine_of(bench).status(name(bench, "failing")) == "cancelled"
    else:
        assert found.outcome == "none"
        assert engine_of(bench).status(name(bench, "failing")) == "failed"
