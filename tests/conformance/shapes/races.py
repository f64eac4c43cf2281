"""Races: what a workflow does by what comes first is history; resumed, it does the same, whatever is first then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import ado, shape

from perdure import step, workflow

slow: set[str] = set()
"""Mirrors that never answer, as long as they are in here."""
broken = [False]
arrived: dict[str, threading.Event] = {}
"""What a mirror waits for: that the workflow has gone on after another one."""


@step(retry=None, timeout=None)
async def fetch(mirror: str) -> str:
    note("fetch", mirror)
    if mirror in slow:
        await asyncio.Event().wait()
    if mirror in arrived:
        await asyncio.to_thread(arrived[mirror].wait)
    return mirror


@step(retry=None)
async def arrive(mirror: str) -> str:
    note("arrive", mirror)
    if mirror in arrived:
        arrived[mirror].set()
    return mirror


@step(retry=None)
def break_once() -> None:
    note("break")
    if broken[0]:
        raise ConnectionError("broken")


def raced(bench: Bench, function: Callable[..., Awaitable[Any]], expected: Any, *made: Any) -> None:
    """Run a workflow that fails when its race is over, and resume it when nothing is slow: it has to end as it began.

    Args:
        bench: the engine.
        function: the workflow's function.
        expected: what it returns.
        made: what its steps have done, each once.
    """
    racing = workflow(function)
    broken[0] = True
    assert isinstance(bench.run(racing), ConnectionError)
    broken[0] = False
    slow.clear()
    arrived.clear()
    first = len(ledger)
    assert bench.run(racing) == expected
    assert steps()[first:] == ["break"], "only what had failed is done again"
    assert sorted(map(str, steps()[: first - 1])) == sorted(map(str, made))
    ledger.sort(key=str)


@shape
def a_timeout_passes_again(bench: Bench) -> None:
    slow.add("primary")

    async def timed() -> str:
        try:
            async with asyncio.timeout(0.05):
                text = await fetch("primary")
        except TimeoutError:
            text = await fetch("backup")
        break_once()
        return text

    raced(bench, timed, "backup", ("fetch", "primary"), ("fetch", "backup"))


@shape
def wait_for_gives_up_again(bench: Bench) -> None:
    slow.add("primary")

    async def waited() -> str:
        try:
            text = await asyncio.wait_for(fetch("primary"), 0.05)
        except TimeoutError:
            text = await fetch("backup")
        break_once()
        return text

    raced(bench, waited, "backup", ("fetch", "primary"), ("fetch", "backup"))


@shape
def a_timeout_that_was_not_reached(bench: Bench) -> None:
    async def in_time() -> str:
        text = await asyncio.wait_for(fetch("primary"), 60)
        break_once()
        return text

    raced(bench, in_time, "primary", ("fetch", "primary"))


@shape
def the_first_of_several(bench: Bench) -> None:
    slow.update(("one", "three"))

    async def first() -> list[str]:
        tasks = [asyncio.create_task(fetch(name)) for name in ("one", "two", "three")]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        won = [task.result() for task in done]
        won.append(await ado("after " + won[0]))
        break_once()
        return won

    raced(bench, first, ["two", "after two"], *[("fetch", name) for name in ("one", "two", "three")], "after two")


@shape
def as_they_come(bench: Bench) -> None:
    arrived.update((name, threading.Event()) for name in ("one", "two"))

    async def completed() -> list[str]:
        came = []
        for each in asyncio.as_completed([fetch("one"), fetch("two"), fetch("three")]):
            name = await each
            came.append(name)
            if name != "one":
                await arrive({"three": "two", "two": "one"}[name])
        break_once()
        return came

    made = [*[("fetch", name) for name in ("one", "two", "three")], ("arrive", "two"), ("arrive", "one")]
    raced(bench, completed, ["three", "two", "one"], *made)


@shape
def a_shielded_call_goes_on(bench: Bench) -> None:
    arrived["primary"] = threading.Event()

    async def shielded() -> list[str]:
        task = asyncio.ensure_future(fetch("primary"))
        texts = []
        try:
            texts.append(await asyncio.wait_for(asyncio.shield(task), 0.05))
        except TimeoutError:
            texts.append(await fetch("backup"))
            await arrive("primary")
        texts.append(await task)
        break_once()
        return texts

    made = [("fetch", "primary"), ("fetch", "backup"), ("arrive", "primary")]
    raced(bench, shielded, ["backup", "primary"], *made)


@shape
def a_queue_keeps_its_order(bench: Bench) -> None:
    arrived.update((name, threading.Event()) for name in ("one", "two"))

    async def queued() -> list[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()

        async def produce(name: str) -> None:
            await queue.put(await fetch(name))

        tasks = [asyncio.create_task(produce(name)) for name in ("one", "two", "three")]
        came = []
        for following in ("two", "one", "none"):
            came.append(await queue.get())
            await arrive(following)
        await asyncio.gather(*tasks)
        break_once()
        return came

    made = [("fetch", name) for name in ("one", "two", "three")] + [("arrive", name) for name in ("two", "one", "none")]
    raced(bench, queued, ["three", "two", "one"], *made)


@shape
def a_timer_is_first_again(bench: Bench) -> None:
    arrived["slowly"] = threading.Event()

    async def ticked() -> list[str]:
        seen: list[str] = []

        async def tick() -> None:
            await asyncio.sleep(0.05)
            seen.append("tick")
            await arrive("slowly")

        async def answer() -> None:
            seen.append(await fetch("slowly"))

        await asyncio.gather(tick(), answer())
        await ado(" ".join(seen))
        break_once()
        return seen

    raced(bench, ticked, ["tick", "slowly"], ("fetch", "slowly"), ("arrive", "slowly"), "tick slowly")


@shape
def a_flag_that_another_branch_sets(bench: Bench) -> None:
    slow.add("primary")

    async def flagged() -> str:
        stop = asyncio.Event()

        async def watch() -> None:
            await fetch("signal")
            stop.set()

        watching = asyncio.create_task(watch())
        racing = asyncio.create_task(fetch("primary"))
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({racing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        racing.cancel()
        await watching
        text = await ado("stopped" if stopped in done else "answered")
        break_once()
        return text

    raced(bench, flagged, "stopped", ("fetch", "signal"), ("fetch", "primary"), "stopped")


@shape
def some_calls_of_a_loop_are_given_up(bench: Bench) -> None:
    async def late() -> str:
        text = ""
        for n in range(3):
            try:
                text += await asyncio.wait_for(fetch(f"mirror {n}"), 60 if n == 1 else 0.05)
            except TimeoutError:
                text += "-"
        await ado(text)
        break_once()
        return text

    slow.update(("mirror 0", "mirror 2"))
    made = [*[("fetch", f"mirror {n}") for n in range(3)], "-mirror 1-"]
    raced(bench, late, "-mirror 1-", *made)
