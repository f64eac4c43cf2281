"""Races in event loops that a sync workflow runs itself: a run that was killed takes the same branch again."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration import race_programs
from tests.integration.race_draws import program
from tests.integration.race_world import DeathsOfProcesses, same_so_far

from conftest import Machine, Scripts
from perdure import step, workflow
from perdure.engines.runtime import branches
from perdure.errors import Drift

Make = Callable[..., DeathsOfProcesses]


@pytest.fixture
def deaths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """State files on which processes die one after the other."""
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "races.db"))
    monkeypatch.setenv("PERDURE_CRASH_LIMIT", "1000")
    return lambda *args, **kwargs: DeathsOfProcesses(tmp_path, *args, **kwargs)


def named(node: Any, loop: str) -> Any:
    """The same program with names of its own: calls that are alike in two threads are interchangeable."""
    if not node or not isinstance(node[0], str):
        return [named(each, loop) for each in node]
    return [node[0], loop + node[1], *(named(each, loop) if isinstance(each, list) else each for each in node[2:])]


def check(world: DeathsOfProcesses, seed: int, *, kills: int, failures: bool = False) -> None:
    """Two random programs, each in a loop, killed at several places, up to three times."""
    nodes = [named(program(seed * 10 + loop, 2, failures=failures), "ab"[loop]) for loop in range(2)]
    chance = random.Random(seed)
    for kill in range(1, kills + 1):
        world.forget()
        at = {"turn": chance.randint(1, 200)} if kill % 3 == 0 and world.virtual else {"commit": 3 * kill}
        before, _ = world.live(nodes, seed, **at)
        for again in range(1, 4):
            durable, status = world.durable(), world.status()
            if status == "done":
                break
            commit = chance.choice((0, 3, 6)) if again < 3 else 0
            after, _ = world.live(nodes, seed * 100 + kill * 10 + again, commit=commit)
            where = f"seed {seed}, killed at {at}, life {again + 1}"
            assert not after.again, f"executed again: {after.again} ({where})"
            if status != "failed":
                assert same_so_far(before, after, durable) is None, where
            before = after
        else:
            assert world.ended()


@pytest.mark.parametrize("seed", [1, 2])
def test_races_in_one_loop_after_the_other(deaths: Make, seed: int) -> None:
    """Random races by `asyncio.run`, twice, and a sync step after each."""
    check(deaths(race_programs.in_loops), seed, kills=3, failures=seed == 2)


@pytest.mark.parametrize("seed", [6])
def test_races_in_loops_of_several_threads(deaths: Make, seed: int) -> None:
    """Each loop takes its own branches again, whatever the other one does meanwhile."""
    check(deaths(race_programs.in_threads, virtual=False), seed, kills=2)


@pytest.mark.long
@pytest.mark.parametrize("shape", ["in_loops", "in_threads"])
def test_many_races_in_loops(deaths: Make, shape: str) -> None:
    """Dozens of programs."""
    world = deaths(getattr(race_programs, shape), virtual=shape == "in_loops")
    for seed in range(1000, 1050):
        check(world, seed, kills=9, failures=shape == "in_loops" and seed % 3 == 0)


class Broken(Exception):
    """Ends a life of the run."""


def lives(machine: Machine, race: Callable[[int], Any]) -> tuple[Any, Any]:
    """What the race has come to in a life that ended after it, and in the next one."""
    seen: list[Any] = []

    @step(retry=None)
    def last() -> int:
        if len(seen) < 2:
            raise Broken
        return 0

    @workflow
    def main() -> int:
        seen.append(asyncio.run(race(len(seen))))
        return last()

    with pytest.raises(Broken):
        main()
    main()
    return seen[0], seen[1]


def test_tasks_of_as_completed_start_in_the_order_of_its_list(machine: Machine) -> None:
    """By itself it starts them in the order of a set, which no later life repeats."""
    began: list[int] = []

    @step(retry=None)
    async def fetch(n: int) -> int:
        return n

    async def get(n: int) -> int:
        began.append(n)
        return await fetch(n)

    async def race(life: int) -> list[int]:
        return [await each for each in asyncio.as_completed([get(n) for n in range(8)])]

    before, after = lives(machine, race)
    assert began == [*range(8), *range(8)]
    assert before == after


def test_a_call_that_was_given_up_is_not_made_again(machine: Machine) -> None:
    """A timeout in such a loop is history, and no time passes for it in the next life."""
    began: list[int] = []

    @step(retry=None, timeout=None)
    async def slow(life: int) -> str:
        began.append(life)
        if len(began) == 1:
            await asyncio.sleep(3600)
        return "in time"

    async def race(life: int) -> str:
        try:
            async with asyncio.timeout(0.01):
                return await slow(1)
        except TimeoutError:
            return "late"

    assert lives(machine, race) == ("late", "late")
    assert began == [1]


def test_a_sync_step_with_other_inputs_beside_tasks_that_rest_is_drift(machine: Machine) -> None:
    """The loop cannot go on meanwhile; what the others have called before is claimed, so the call is judged."""
    executed: list[str] = []

    @step(retry=None)
    def handle(what: str) -> str:
        executed.append(what)
        return what

    @step(retry=None)
    def last() -> None:
        raise Broken

    given = "before"

    @workflow
    def main() -> None:
        async def beside(over: asyncio.Event) -> None:
            await over.wait()

        async def race() -> None:
            over = asyncio.Event()
            task = asyncio.create_task(beside(over))
            await asyncio.sleep(0)
            handle(given)
            over.set()
            await task

        asyncio.run(race())
        last()

    with pytest.raises(Broken):
        main()
    given = "after"
    with pytest.raises(Drift):
        main()
    assert executed == ["before"]


def test_a_loop_that_the_workflow_leaves_running_is_the_programs_again(machine: Machine) -> None:
    """What was wrapped for the run is unwrapped with its end; a timer that waits for its turn fires."""
    fired = asyncio.Event()
    loop = asyncio.new_event_loop()

    @step(retry=None)
    async def double(n: int) -> int:
        return 2 * n

    @workflow
    def main() -> int:
        async def work() -> int:
            asyncio.get_running_loop().call_later(0.01, fired.set)
            return await double(4)

        running = threading.Thread(target=loop.run_forever)
        running.start()
        return asyncio.run_coroutine_threadsafe(work(), loop).result()

    assert main() == 8

    assert asyncio.run_coroutine_threadsafe(fired.wait(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    assert "call_at" not in vars(loop)
    assert loop.get_task_factory() is None


def test_tasks_of_a_run_are_freed_with_it(machine: Machine) -> None:
    """A process that executes run after run does not grow by their tasks, nor a workflow by its loops."""

    @step(retry=None)
    async def double(n: int) -> int:
        return 2 * n

    @workflow
    def loops(n: int) -> int:
        return sum(asyncio.run(double(each)) for each in range(n))

    @workflow
    async def tasks(n: int) -> int:
        return sum(await asyncio.gather(*map(double, range(n))))

    gc.collect()
    before = len(branches._of_task)
    assert loops(4) == asyncio.run(tasks(4)) == 12
    gc.collect()
    assert len(branches._of_task) <= before


def test_a_killed_race_by_asyncio_run_goes_on_as_it_went(scripts: Scripts) -> None:
    """In processes of its own: branches that share a list; nothing that was done is done again."""
    script = scripts.write(
        """
        import asyncio, os, sys
        from perdure import step, workflow

        @step
        async def fetch(n: int) -> int:
            await asyncio.sleep((0.06, 0.04, 0.02, 0)[n])
            return n

        @step
        async def handle(place: int, n: int) -> str:
            print("handles", place, n, flush=True)
            return f"{place}-{n}"

        @step
        def stop() -> None:
            if "kill" in sys.argv:
                os.kill(os.getpid(), 9)

        async def race():
            seen = []
            async def one(n):
                got = await fetch(n)
                seen.append(got)
                return await handle(len(seen), got)
            return await asyncio.gather(*[one(n) for n in range(4)])

        @workflow
        def main():
            result = asyncio.run(race())
            stop()
            return result

        print(main())
        """
    )
    first = scripts.run(script, "kill")
    assert first.stdout.count("handles") == 4
    second = scripts.run(script)
    assert "handles" not in second.stdout
    assert "waits" not in second.stderr
