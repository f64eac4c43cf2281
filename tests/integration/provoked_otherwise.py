"""More ways to fail as the catalogue has it, each with a look-alike: what `provoked.py` has no place for."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import uuid
from typing import Any

from provoking import QUICK, answer, attempt, runs

import perdure
from conftest import Machine
from perdure import defer, step, workflow


def awaits(*, really: bool) -> Any:
    """An async step that is called, and awaited or not."""

    def provoke(machine: Machine) -> None:
        @step(name="send", retry=None)
        async def send(number: int) -> int:
            return number

        @workflow(name="flow")
        async def flow() -> str:
            call = send(1)
            if really:
                await call
            return "all sent"

        attempt(lambda: asyncio.run(flow()))

    return provoke


def nests(*, step_in_step: bool) -> Any:
    """A step that calls another one, or a plain function."""

    def provoke(machine: Machine) -> None:
        name = f"inner-{uuid.uuid4()}"  # said once for each name in a process

        @step(name=name, retry=None)
        def inner() -> int:
            return 1

        @step(name="outer", retry=None)
        def outer() -> int:
            return inner() if step_in_step else 1

        @workflow(name="flow")
        def flow() -> int:
            return outer()

        attempt(flow)

    return provoke


def loses(error: Exception | None) -> Any:
    """A batch of which every item fails, and that the workflow does not look at."""

    def provoke(machine: Machine) -> None:
        @step(name="item", retry=None)
        def item(number: int) -> int:
            if error is not None:
                raise error
            return number

        @workflow(name="flow")
        def flow() -> str:
            item.map(range(4))
            return "all done"

        attempt(flow)

    return provoke


def draws(*, anew: bool) -> Any:
    """A key that is drawn in the workflow, or by perdure, in two lives."""

    def provoke(machine: Machine) -> None:
        @step(name="pay", retry=None)
        def pay(key: str) -> str:
            return key

        @step(name="last", retry=None)
        def last() -> None:
            raise OSError("not yet")

        @workflow(name="flow")
        def flow() -> None:
            pay(str(uuid.uuid4() if anew else perdure.uuid()))
            last()

        for _ in range(2):
            attempt(flow)
            machine.boot()

    return provoke


def loops(*fails: int) -> Any:
    """A loop over items, some of which cannot be read."""

    def provoke(machine: Machine) -> None:
        @step(name="read", retry=None)
        def read(number: int) -> int:
            if number in fails:
                raise ValueError("unparsable row")
            return number

        @workflow(name="flow")
        def flow() -> list[int]:
            return [read(number) for number in range(6)]

        attempt(flow)

    return provoke


def takes_turns(rounds: int) -> Any:
    """Two steps, one after the other, with the same inputs each time."""

    def provoke(machine: Machine) -> None:
        @step(name="search", retry=None)
        def search(query: str) -> str:
            return "nothing"

        @step(name="read", retry=None)
        def read(page: str) -> str:
            return "nothing"

        @workflow(name="flow")
        def flow() -> None:
            for _ in range(rounds):
                search("Pariss")
                read("home")

        attempt(flow)

    return provoke


def spends(usd: float) -> Any:
    """A budget of a dollar."""

    def provoke(machine: Machine) -> None:
        @step(name="ask", retry=None)
        def ask(number: int) -> int:
            perdure.spend(usd=usd)
            return number

        @workflow(name="flow")
        def flow() -> None:
            with perdure.budget(usd=1):
                for number in range(3):
                    ask(number)

        attempt(flow)

    return provoke


def locks(*, held: bool) -> Any:
    """A database that another connection writes to, or did."""

    def provoke(machine: Machine) -> None:
        @step(name="write", retry=None)
        def write() -> None:
            other, mine = (sqlite3.connect(machine.folder / "x.db", timeout=0) for _ in range(2))
            other.execute("begin immediate")
            if not held:
                other.rollback()
            try:
                mine.execute("begin immediate")
            finally:
                other.close()
                mine.close()

        @workflow(name="flow")
        def flow() -> None:
            write()

        attempt(flow)

    return provoke


def waits_for_its_end(error: Exception) -> Any:
    """A run that has failed, and whose clean-up waits until it is done."""

    def provoke(machine: Machine) -> None:
        @step(name="remove", retry=None)
        def remove(name: str) -> None:
            pass

        @step(name="last", retry=None)
        def last() -> None:
            raise error

        @workflow(name="flow")
        def flow() -> None:
            defer(remove, "tmp-a")
            last()

        attempt(flow)

    return provoke


def _hoards() -> Any:
    def provoke(machine: Machine) -> None:
        @step(name="load", retry=None)
        def load() -> int:
            return len(bytearray(1 << 60))

        @workflow(name="flow")
        def flow() -> int:
            return load()

        attempt(flow)

    return provoke


TOO_LONG = "This model's maximum context length is 8192 tokens, however you requested 9000 tokens"

OTHERWISE: dict[str, tuple[Any, Any]] = {
    "silent-failure, not awaited": (awaits(really=False), awaits(really=True)),
    "silent-failure, a step in a step": (nests(step_in_step=True), nests(step_in_step=False)),
    "silent-failure, letters": (loses(ConnectionError("refused")), loses(None)),
    "silent-failure, refused": (runs({"ok": False}), runs({"ok": True, "errors": []})),
    "code-drift, a key drawn anew": (draws(anew=True), draws(anew=False)),
    "poison-item, in a loop": (loops(4), loops(0)),
    "tool-loop, in turns": (takes_turns(4), takes_turns(2)),
    "context-saturation, refused": (runs(Exception(TOO_LONG)), runs(Exception("the context of this call is unknown"))),
    "over-budget, of perdure's": (spends(0.6), spends(0.1)),
    "oversized-payload, refused": (runs(answer(413)), runs(answer(415))),
    "lock-contention, SQLite": (locks(held=True), locks(held=False)),
    "incomplete-cleanup, files": (
        runs(OSError(errno.EMFILE, "Too many open files")),
        runs(OSError(errno.ENOENT, "No such file or directory")),
    ),
    "incomplete-cleanup, not made": (
        waits_for_its_end(PermissionError("not yours")),
        waits_for_its_end(ConnectionError("not yet")),
    ),
    "rate-limit-spiral, given up": (
        runs(answer(429, Retry_After="7200"), retry=QUICK),
        runs(answer(503)),
    ),
    "credential-expired, wrapped": (
        runs(RuntimeError("fetch failed: HTTP Error 401: Unauthorized")),
        runs(RuntimeError("row 401 is not valid")),
    ),
    "disk-full, wrapped": (
        runs(RuntimeError("cannot write: [Errno 28] No space left on device")),
        runs(RuntimeError("cannot write: errno 2")),
    ),
    "out-of-memory, MemoryError": (_hoards(), runs(OverflowError("too large"))),
}
"""By entry and way: what provokes it, and what looks alike."""
