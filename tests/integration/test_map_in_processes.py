"""`map(processes=)`: an item's timeout and death are its own, and nothing that was done is done again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pooled_steps as steps
import pytest

from conftest import Machine, Scripts
from perdure import workflow
from perdure.core.execution.map_faults import ENOUGH, SAMPLE
from perdure.core.execution.map_items import MapOptions
from perdure.engines.processes import template
from perdure.engines.runtime import unsaved
from perdure.engines.temporal.lockstep_map import refuse_options
from perdure.errors import NotStorable, OptionError
from perdure.operations.show import error_view
from waiting import until


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where what is executed is written down."""
    path = tmp_path / "ledger"
    monkeypatch.setenv("LEDGER", str(path))
    return str(path)


def gone(pid: int) -> bool:
    """Is there no such process?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@workflow
def pooled_squares() -> list[int]:
    return list(steps.killed_once.map(range(8), processes=2).results)


@workflow
async def pooled_squares_async() -> list[int]:
    return list((await steps.killed_once_async.map(range(8), processes=2)).results)


@pytest.mark.parametrize("copies", [True, False], ids=["copies", "programs"])
@pytest.mark.parametrize(
    "squares", [pooled_squares, lambda: asyncio.run(pooled_squares_async())], ids=["threads", "tasks"]
)
def test_a_killed_process_costs_one_attempt_of_one_item(
    machine: Machine, ledger: str, monkeypatch: pytest.MonkeyPatch, squares: Callable[[], list[int]], *, copies: bool
) -> None:
    """Its item is tried again in another process; the others are executed once, and no process is made for each."""
    if not copies:
        monkeypatch.setattr(template, "_copies", False)
    assert squares() == [n * n for n in range(8)]
    assert sorted(steps.tried(ledger)) == [0, 1, 2, 3, 3, 4, 5, 6, 7]
    pids = {pid for _, pid in steps.lines(ledger)}
    assert os.getpid() not in pids
    assert len(pids) <= 3
    until(lambda: all(map(gone, pids)), "the end of the processes")


@workflow
def pooled_hang() -> list[int]:
    return list(steps.hangs_once.map(range(4), processes=2).results)


def test_an_item_that_hangs_ends_at_its_timeout(machine: Machine, ledger: str) -> None:
    """Its process is killed, its item tried again, and the others have their results."""
    assert pooled_hang() == [0, 1, 4, 9]
    first, *more = [pid for n, pid in steps.lines(ledger) if n == 1]
    assert more
    assert first not in more
    until(lambda: gone(first), "the end of the process")


@workflow
def pooled_deaths() -> list[Any]:
    batch = steps.ends_badly.map(["exit", "well", "sys.exit", "abort", "recursion", "raise", "fine"], processes=2)
    return [list(batch.results), [letter.error for letter in batch.dead]]


def test_what_a_process_ends_with_is_its_items_own(machine: Machine) -> None:
    """Each makes a dead letter that says it, and the others have their results."""
    results, errors = pooled_deaths()
    assert results == ["well", "fine"]
    for error, said in zip(
        errors, ["exit code 7", "exit code 1", "SIGABRT", "Recursion", "no such thing"], strict=True
    ):
        assert said in error


KILLED = """
    import os, sys
    from pathlib import Path
    from perdure import step, workflow

    @step
    def square(n: int) -> int:
        with open("ledger", "a") as ledger:
            ledger.write(f"{n} {os.getpid()}\\n")
        if n > 1 and not os.path.exists("go"):
            open("stuck").read()
        return n * n

    @workflow
    def squares() -> list[int]:
        return list(square.map(range(4), processes=2).results)

    if __name__ == "__main__":
        print(squares())
"""


@pytest.mark.skipif(not template._can_copy(), reason="only where descriptors of processes are to be had")
def test_a_killed_program_leaves_no_process_and_does_only_what_is_missing(scripts: Scripts) -> None:
    """Killed while two items are under way: their processes are over, and a new one executes these two alone."""
    script = scripts.write(KILLED)
    os.mkfifo(scripts.folder / "stuck")
    ledger = str(scripts.folder / "ledger")
    process = scripts.start(script)
    until(lambda: {2, 3} <= set(steps.tried(ledger)), "the third and the fourth item")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: all(gone(pid) for _, pid in steps.lines(ledger)), "the end of the processes")
    (scripts.folder / "go").touch()
    done = scripts.run(script)
    assert done.stdout == "[0, 1, 4, 9]\n", done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(steps.tried(ledger)) == [0, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"processes": 0}, "processes is 0"),
        ({"processes": True}, "processes is True"),
        ({"processes": 2, "concurrency": 2}, "each says how many"),
    ],
)
def test_mistakes_are_refused(machine: Machine, options: dict[str, Any], text: str) -> None:
    """No number of processes, or two answers to one question."""

    @workflow
    def pooled_mistake() -> None:
        steps.killed_once.map([1], **options)

    with pytest.raises(OptionError, match=text):
        pooled_mistake()


def test_a_cluster_refuses() -> None:
    """It says what to do instead."""
    with pytest.raises(OptionError, match="isolate=True"):
        refuse_options(MapOptions(2, processes=True))


@workflow
def pooled_forks() -> list[int]:
    return list(steps.forks.map(range(4), processes=1).results)


def test_a_copy_of_a_process_that_comes_back_answers_nothing(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    """A step that forks: each item has its own result, and it is said that the copy has ended."""
    assert pooled_forks() == [0, 1, 2, 3]
    assert "has made a copy of its process" in until(lambda: capfd.readouterr().err, "what the copy says")


@workflow
def pooled_methods() -> object:
    return steps.Account("a").balance.map(range(3), processes=1)


@workflow
def pooled_method() -> object:
    return steps.Account("a").isolated_balance(1)


@pytest.mark.parametrize("flow", [pooled_methods, pooled_method])
def test_what_cannot_be_handed_over_is_refused_at_once(machine: Machine, flow: Callable[[], object]) -> None:
    """Of an instance only what it goes by is stored: no item becomes a dead letter for that."""
    with pytest.raises(NotStorable, match="executed in another process"):
        flow()
    assert machine.steps() == []


@workflow
def pooled_mistakes() -> object:
    return steps.mistaken.map(range(1000), processes=2)


def test_a_fault_of_the_program_ends_the_map_early(machine: Machine, ledger: str) -> None:
    """As in the process of the workflow: a sample is tried, nothing is a dead letter, and the run fails with it."""
    with pytest.raises(AttributeError, match="amount"):
        pooled_mistakes()
    assert len(steps.tried(ledger)) <= ENOUGH + SAMPLE + 8
    assert machine.runs() == [("pooled_mistakes", "failed")]
    assert machine.steps() == []


@workflow
def pooled_nested() -> list[int]:
    return list(steps.pooled_outer.map(range(4), processes=2).results)


def test_a_step_inside_another_is_said_once_for_all_processes(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    """As where no other process makes the attempts; and it is kept with the run."""
    unsaved._said.clear()
    assert pooled_nested() == [0, 1, 2, 3]
    [line] = [line for line in capfd.readouterr().err.splitlines() if "was called inside step" in line]
    assert "step 'pooled_inner' was called inside step 'pooled_outer'" in line
    store = machine.engine.store
    [kept] = store.notes(store.runs()[0].rid)
    assert "step 'pooled_inner' was called inside step 'pooled_outer'" in error_view(kept.error).message
