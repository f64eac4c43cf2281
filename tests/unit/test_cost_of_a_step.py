"""What a step costs, in functions entered: that is the same on any machine, at any load.

A change that makes it cost more shows here. Look at what it costs with `python benchmarks/instructions.py`; if it is
worth that, write the new number down, and say so in the commit.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import multiprocessing  # noqa: F401  (where it is loaded, a run asks it whose process this is)
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import apsw
import pytest

from perdure import step, workflow
from perdure.engines.local import limits
from perdure.engines.local.engine import close_all, engine_at
from perdure.engines.local.worker.executor import Executor
from perdure.engines.local.worker.messages import Orders
from perdure.engines.observers import json_logs
from perdure.engines.runtime import orphans
from perdure.engines.runtime.clock import RealWorld
from perdure.store import bell, flight_recorder, watch

PYTHON, C = 0, 1
TOLERANCE = 1.03
"""Interpreters differ by that much, and what happens once in a while. Two more functions show."""


@step(name="cost-of-a-step")
def one(i: int) -> int:
    return i % 97


@step(name="cost-of-an-async-step")
async def one_async(i: int) -> int:
    return i % 97


@workflow(name="cost-of-a-loop")
def loop(steps: int) -> None:
    for i in range(steps):
        one(i)


@workflow(name="cost-of-an-async-loop")
async def async_loop(steps: int) -> None:
    for i in range(steps):
        await one_async(i)


@workflow(name="cost-of-an-async-map")
async def async_map(items: int) -> None:
    await one_async.map(range(items), concurrency=50)


@workflow(name="cost-of-a-map")
def items(items: int) -> None:
    one.map(range(items))


@workflow(name="cost-of-a-replay")
def loop_and_fail(steps: int) -> None:
    for i in range(steps):
        one(i)
    raise OSError("the run is gone on with")


@workflow(name="cost-of-a-parent")
def parent(number: int) -> None:
    """A run with a step and a child run, which enqueues another."""
    one(number)
    loop(number)
    loop.enqueue(number)


def replay(steps: int) -> None:
    """A call of the run that failed with so many steps done; the first one makes them."""
    with pytest.raises(OSError, match="gone on with"):
        loop_and_fail(steps)


def begin(runs: int) -> None:
    """So many runs of nothing, each of other inputs."""
    for number in range(runs):
        loop(-100 * runs - number)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state file of its own, ids without letters, no programs, and nothing that looks again because time has passed.

    Letters of an id can look like the beginning of a token (`fm`, `gh`): the first text with such a beginning compiles
    a pattern, which enters 3,000 functions.
    """
    ids = itertools.count()
    monkeypatch.setattr(RealWorld, "new_id", lambda _: f"{next(ids):010d}")
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    monkeypatch.setattr(orphans, "_marked", list)  # what other tests have started is looked at when a run goes on
    monkeypatch.setattr(bell, "FRESH", -1)  # a folder of bells that was changed just now is read each time
    monkeypatch.setattr(watch, "LOOK_AGAIN", 1e6)
    monkeypatch.setattr(flight_recorder, "MOVED", 1e6)
    monkeypatch.setattr(limits, "LOOK", 1e6)
    yield
    close_all()


entered: Counter[str] = Counter()
"""How often which functions of Python were entered when they were counted last."""


def calls(work: Callable[[], object]) -> tuple[int, int]:
    """How many functions are entered, of Python (a generator that goes on counts again) and of C."""
    count = [0, 0]
    entered.clear()

    def on_event(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            count[PYTHON] += 1
            entered[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            count[C] += 1

    before = sys.getprofile()
    gc.disable()
    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count[PYTHON], count[C]


def modules(work: Callable[[], object]) -> set[str]:
    """The modules of perdure's that are entered."""
    names: set[str] = set()

    def on_event(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            names.add(frame.f_globals.get("__name__", ""))

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(before)
    return {name for name in names if name.startswith("perdure.")}


def exceeds(found: list[float], written_down: list[int]) -> bool:
    """Does one of the figures exceed what is written down?"""
    return any(one > TOLERANCE * most for one, most in zip(found, written_down, strict=True))


@pytest.mark.parametrize(
    ("work", "python", "c"),
    [
        pytest.param(loop, 45, 62, id="step in a loop"),
        pytest.param(lambda n: asyncio.run(async_loop(n)), 88, 91, id="async step in a loop"),
        pytest.param(items, 70, 66, id="item of a map"),
        pytest.param(lambda n: asyncio.run(async_map(n)), 50, 54, id="item of an async map"),
    ],
)
def test_a_step_costs_no_more_than_is_written_down_here(work: Callable[[int], object], python: int, c: int) -> None:
    """One more step enters no more functions than the numbers above say, in a loop and in a map."""
    work(1)
    few, many = calls(lambda: work(100)), calls(lambda: work(200))
    found = [(more - less) / 100 for more, less in zip(many, few, strict=True)]
    assert not exceeds(found, [python, c]), found


@step(name="cost-of-tasks")
async def tasks(i: int) -> int:
    return len(asyncio.all_tasks())


@workflow(name="cost-of-tasks-of-a-map")
async def map_in_tasks() -> int:
    return max((await tasks.map(range(9), concurrency=50)).results)


def test_an_async_map_whose_items_wait_for_nothing_makes_one_task_from_the_first_item_on() -> None:
    """Tasks are made when an item comes to wait, and none has: beside the one of the map, there is the workflow's."""
    assert asyncio.run(map_in_tasks()) == 2


def test_a_replayed_step_costs_no_more_than_is_written_down_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more step that was done in an earlier life is answered by five functions of Python: nothing decides there."""
    monkeypatch.setattr(json_logs, "heard", lambda _: False)  # a test before this one may have set up logging
    found: list[list[int]] = []
    for steps in (100, 200):
        replay(steps)
        found.append(list(calls(lambda steps=steps: replay(steps))))  # type: ignore[misc]
    a_step = [(more - less) / 100 for less, more in zip(*found, strict=True)]
    assert not exceeds(a_step, [5, 13]), (a_step, entered.most_common(40))


def test_a_worker_whom_nobody_observes_replays_as_a_script_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an observer, each replayed step is told it: a run of 10,000 records took twice the time to wake."""
    monkeypatch.setattr(json_logs, "heard", lambda _: False)
    script, state = tmp_path / "app.py", tmp_path / "state.db"
    script.write_text("from perdure import workflow\n\n@workflow\ndef nothing() -> None:\n    pass\n")
    here, there = socket.socketpair()
    with here, there:
        orders = Orders(str(state), [str(script)], [], "", [], 1, suspects=True)  # ends when there are none
        assert Executor(there, orders).serve() == 0
    gc.unfreeze()
    assert engine_at(state).observer is None


def test_a_run_costs_no_more_than_is_written_down_here() -> None:
    """To begin and to end a run enters no more functions than this."""
    loop(0)
    few, many = calls(lambda: begin(2)), calls(lambda: begin(12))
    found = [(more - less) / 10 for more, less in zip(many, few, strict=True)]
    assert not exceeds(found, [328, 245]), found


def test_a_run_plans_no_statement_again(tmp_path: Path) -> None:
    """SQLite parses each statement of a run, of child runs and of what it enqueues once in the life of a connection."""
    parent(0)
    connection = engine_at(tmp_path / "state.db").store.journal.read(lambda connection: connection)
    planned: list[str | None] = []
    connection.set_authorizer(lambda _, what, *__: planned.append(what) or apsw.SQLITE_OK)
    try:
        parent(1)
        parent(2)  # the first one meets what only a second run asks for
        planned.clear()
        parent(3)
    finally:
        connection.set_authorizer(None)
    assert not planned


def test_a_step_walks_through_no_more_modules_than_is_written_down_here() -> None:
    """Who reads what a call of a step does opens no more files than this, three of the log among them."""
    walked: set[str] = set()

    @workflow(name="walk-of-a-step")
    def walking() -> None:
        one(1)
        walked.update(modules(lambda: one(2)))

    walking()
    assert 10 < len(walked) <= 23, "\n".join(sorted(walked))
