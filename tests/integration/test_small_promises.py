"""Promises too small for a file of their own."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

import perdure
from conftest import Machine, Scripts
from perdure import Retry, step, workflow


def test_results_are_a_sequence(machine: Machine) -> None:
    """Indexed, sliced, compared with lists, shown short, and handed to a step as a list."""

    @step
    def double(n: int) -> int:
        return 2 * n

    @step
    def total(values: list[int]) -> int:
        assert type(values) is not tuple
        return sum(values)

    @workflow
    def wf() -> int:
        results = double.map(range(10), concurrency=4).results
        assert results == [2 * n for n in range(10)]
        assert results[3] == 6
        assert results[-1] == 18
        assert results[2:4] == [4, 6]
        assert results != [1]
        assert next(reversed(results)) == 18
        assert 8 in results
        assert repr(results) == "[0, 2, 4, 6, 8, 10, ... 10 in all]"
        with pytest.raises(IndexError):
            results[10]
        return total(results)

    assert wf() == 90


def test_progress_outside_of_a_run_does_nothing() -> None:
    """A step that reports progress can be called anywhere."""
    perdure.progress(1, 2, "half")


def test_an_isolated_async_step_runs_in_a_process_of_its_own(scripts: Scripts) -> None:
    """Its result comes back typed, and the loop goes on meanwhile."""
    script = scripts.write(
        """
        import asyncio, os
        from perdure import step, workflow

        @step(isolate=True, timeout="30s")
        async def where() -> tuple[int, set[str]]:
            await asyncio.sleep(0)
            return os.getpid(), {"a"}

        @workflow
        async def wf() -> str:
            ticks = asyncio.create_task(asyncio.sleep(0, "ticked"))
            pid, letters = await where()
            return f"{pid != os.getpid()} {letters} {ticks.done()}"

        if __name__ == "__main__":
            print(asyncio.run(wf()))
        """
    )
    done = scripts.run(script)
    assert done.stdout == "True {'a'} True\n", done.stderr


def test_the_time_and_chance_are_remembered(machine: Machine) -> None:
    """now, uuid and random give the same again on resume, in sync and async workflows."""
    broken = [True]

    @step(retry=None)
    def end() -> None:
        if broken[0]:
            raise ValueError("broken")

    seen = []

    @workflow
    async def wf() -> None:
        seen.append((perdure.now(), perdure.uuid(), perdure.uuid(), perdure.random()))
        end()

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(wf())
    broken[0] = False
    machine.boot()
    asyncio.run(wf())
    assert seen[0] == seen[1]
    assert seen[0][1] != seen[0][2]


def test_a_failed_attempt_lets_go_of_what_its_exception_holds(machine: Machine) -> None:
    """Sockets and buffers that an exception holds are closed when it is gone, not when the collector comes by.

    It is gone when the step is tried again, or the workflow has handled it, as in a plain script.
    """
    import gc
    import weakref

    class Held:
        """A response, say."""

    alive: dict[tuple[str, int], weakref.ref[Held]] = {}

    def fail(call: str, times: int) -> None:
        for number in range(times):
            if (call, number) not in alive:
                error = ConnectionError("reset")
                error.response = Held()  # type: ignore[attr-defined]
                alive[call, number] = weakref.ref(error.response)  # type: ignore[attr-defined]
                try:
                    raise error
                finally:
                    del error

    twice = Retry(attempts=2, delay="1ms", jitter=0)
    service = perdure.Breaker("service", failures=100)

    @step(retry=twice)
    def sync(call: str, times: int = 1) -> None:
        fail(call, times)

    @step(retry=twice)
    async def at_once(call: str, times: int = 1) -> None:
        fail(call, times)

    @step(retry=twice)
    async def later(call: str, times: int = 1) -> None:
        await asyncio.sleep(0)
        fail(call, times)

    @step(retry=twice, breaker=service)
    async def guarded(call: str, times: int = 1) -> None:
        await later.__wrapped__(call, times)  # type: ignore[attr-defined]

    @workflow
    def child() -> None:
        sync("in a child", 2)

    @workflow
    def alone() -> int:
        sync("sync")
        sync.map(["item"])
        sync.map(["item 1 on threads", "item 2 on threads"], concurrency=2)
        with contextlib.suppress(ConnectionError):
            sync("handled", 2)
        with contextlib.suppress(ConnectionError):
            child()
        return sum(held() is not None for held in alive.values())

    @workflow
    async def job() -> int:
        sync("sync in a loop")
        for one in (at_once, later, guarded):
            name = one.__name__
            await one(name)
            await one.map([f"{name} 1", f"{name} 2"], concurrency=2)
            with contextlib.suppress(ConnectionError):
                await one(f"{name} handled", 2)
            both = one(f"{name} left", 2), one(f"{name} right", 2)
            await asyncio.gather(*both, return_exceptions=True)
            del both
        sync("the last")
        return sum(held() is not None for held in alive.values())

    gc.collect()
    gc.disable()
    try:
        assert alone() == 0, [call for call, held in alive.items() if held() is not None]
        assert len(alive) == 8
        assert asyncio.run(job()) <= 4  # what tasks have come to, until some more have
        assert len(alive) == 8 + 2 + 3 * 9
        assert [call for call, held in alive.items() if held() is not None] == []
    finally:
        gc.enable()


def test_what_tasks_have_returned_is_let_go_of(machine: Machine) -> None:
    """A workflow that gathers a few large results, again and again, does not hold those of before."""
    import gc
    import weakref

    class Large(dict[str, int]):
        """A page, say."""

    @step
    async def fetch(page: int) -> int:
        return page

    pages: list[weakref.ref[Large]] = []

    async def parsed(page: int) -> Large:
        large = Large(page=await fetch(page))
        pages.append(weakref.ref(large))
        return large

    @workflow
    async def job() -> int:
        for first in range(0, 40, 4):
            await asyncio.gather(*map(parsed, range(first, first + 4)))
        return sum(page() is not None for page in pages)

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(job()) <= 8
        assert len(pages) == 40
    finally:
        gc.enable()
