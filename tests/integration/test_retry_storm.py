"""Hundreds of workflows against a dead server, for ten minutes: retries do not become a storm.

The *offered load* is what the workflows want of the server when nothing is tried again: one request each, in ten
minutes. Time is virtual, the server is real: it listens on the loopback interface, in the loop of the workflows, counts
what reaches it, and answers nothing but 503.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from perdure import Retry, step, workflow
from perdure.api.breaker import Breaker
from perdure.engines.local import LocalEngine, engine

WORKFLOWS = 400
MINUTES = 10
EPOCH = 1_800_000_000.0


class Impatient(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Never waits: if nothing has happened on a socket, it is later already."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if events or timeout is None or timeout <= 0:
            return events or super().select(0.001 if timeout is None else 0)
        events = super().select(0.0002)  # what is on its way through the kernel comes before what is later
        if not events:
            self.time += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes when all tasks wait for it."""

    def __init__(self) -> None:
        self._impatient = Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        return self._impatient.time


class VirtualWorld:
    """Time is that of the loop; chance is fixed."""

    slice = float("inf")

    def __init__(self, loop: VirtualLoop) -> None:
        import random

        self._loop = loop
        self._chance = random.Random(1)
        self._ids = 0

    def now(self) -> float:
        return EPOCH + self._loop.time()

    def clock(self) -> float:
        return self._loop.time()

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a loop must not be blocked")

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def uniform(self) -> float:
        return self._chance.random()

    def new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:010d}"


class Unavailable(ConnectionError):
    """What the step makes of a 503."""


class Server:
    """Dead until it is mended; `calls` are the seconds at which requests came."""

    def __init__(self) -> None:
        self.calls: list[float] = []
        self.mended = False
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        self.calls.append(asyncio.get_running_loop().time())
        writer.write(b"200\n" if self.mended else b"503\n")
        writer.close()


async def ask(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET\n")
    answer = await reader.readline()
    writer.close()
    if answer != b"200\n":
        raise Unavailable(answer.decode().strip())


async def ten_minutes(server: Server, breaker: Breaker | None, workflows: int) -> Counter[str]:
    """Workflows come evenly over ten minutes, of which the server is dead; then it is mended. Returns how they end."""

    @step(name="charge", breaker=breaker, retry=Retry(total="30m"), timeout=None)
    async def charge(order: int) -> int:
        await ask(server)
        return order

    @workflow(name="sell")
    async def sell(order: int) -> int:
        return await charge(order)

    async def one(order: int) -> str:
        await asyncio.sleep(order * MINUTES * 60 / workflows)
        try:
            await sell(order)
        except Unavailable:
            return "failed"
        return "done"

    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1000)
    server.port = listening.sockets[0].getsockname()[1]
    runs = [asyncio.ensure_future(one(order)) for order in range(workflows)]
    await asyncio.sleep(MINUTES * 60)
    server.mended = True
    ends = Counter(await asyncio.gather(*runs))
    listening.close()
    return ends


def storm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaker: Breaker | None, workflows: int
) -> tuple[Server, Counter[str]]:
    state, loop, server = tmp_path / "state.db", VirtualLoop(), Server()
    monkeypatch.setenv("PERDURE_STATE", str(state))
    engine.close_all()
    engine._engines[state] = LocalEngine(state, world=VirtualWorld(loop))
    try:
        return server, loop.run_until_complete(ten_minutes(server, breaker, workflows))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        engine.close_all()


def waves(server: Server, since: float, until: float) -> tuple[int, int]:
    """How many requests came in that time, and how many in its worst second."""
    seconds = Counter(int(at) for at in server.calls if since <= at < until)
    return sum(seconds.values()), max(seconds.values(), default=0)


MEAN = WORKFLOWS / (MINUTES * 60)


def test_a_breaker_keeps_retries_from_becoming_a_storm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is open, at most 1.1 times the offered load reaches the server while it is dead, and no second holds more
    than 3 times the mean. When the server is well, all get through, and do not run it down."""
    server, ends = storm(tmp_path, monkeypatch, Breaker("payments"), WORKFLOWS)
    opened = server.calls[2]
    total, worst = waves(server, opened, MINUTES * 60)
    _, after = waves(server, MINUTES * 60, float("inf"))
    print(f"dead: {total} requests, {worst} in the worst second; mended: {after} in the worst second; {dict(ends)}")
    assert total <= 1.1 * WORKFLOWS
    assert worst <= 3 * MEAN
    assert total >= MINUTES * 60 / 30 / 2, "nobody found out whether it is well"
    assert ends == {"done": WORKFLOWS}
    assert after <= WORKFLOWS / 3


def test_without_a_breaker_there_is_a_storm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: workflows without one send several times what they want of the server."""
    workflows = WORKFLOWS // 3
    server, ends = storm(tmp_path, monkeypatch, None, workflows)
    total, worst = waves(server, 0, MINUTES * 60)
    print(f"dead: {total} requests, {worst} in the worst second; {dict(ends)}")
    assert total > 3 * workflows
    assert worst > 3 * workflows / (MINUTES * 60)
    assert ends["failed"] > workflows / 2
