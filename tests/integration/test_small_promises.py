"""Promises too small for a file of their own."""

from __future__ import annotations

import asyncio

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
    """Sockets and buffers that an exception holds are closed when it is gone, not when the collector comes by."""
    import gc
    import weakref

    class Held:
        """A response, say."""

    alive: dict[str, weakref.ref[Held]] = {}

    def fail_once(call: str) -> None:
        if call in alive:
            return
        error = ConnectionError("reset")
        error.response = Held()  # type: ignore[attr-defined]
        alive[call] = weakref.ref(error.response)  # type: ignore[attr-defined]
        try:
            raise error
        finally:
            del error

    @step(retry=Retry(attempts=2, delay="1ms", jitter=0))
    def sync(call: str) -> None:
        fail_once(call)

    @step(retry=Retry(attempts=2, delay="1ms", jitter=0))
    async def concurrent(call: str) -> None:
        fail_once(call)

    @workflow
    def alone() -> None:
        sync("sync")
        sync.map(["item"])
        sync.map(["item 1 on threads", "item 2 on threads"], concurrency=2)

    @workflow
    async def job() -> None:
        sync("sync in a loop")
        await concurrent("async")
        await concurrent.map(["async item 1", "async item 2"], concurrency=2)

    gc.collect()
    gc.disable()
    try:
        alone()
        asyncio.run(job())
        assert len(alive) == 8
        assert [call for call, held in alive.items() if held() is not None] == []
    finally:
        gc.enable()
