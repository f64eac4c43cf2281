"""Workflows that fail in the ways of the catalogue, and look-alikes that do not."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

from provoking import QUICK, answer, attempt, runs

from conftest import Machine
from perdure import defer, step, workflow


def maps(fails: Callable[[int], BaseException | None], items: int = 12) -> Any:
    """A run of a batch."""

    def provoke(machine: Machine) -> None:
        @step(name="item", retry=QUICK)
        def item(number: int) -> int:
            error = fails(number)
            if error is not None:
                raise error
            return number

        @workflow(name="flow")
        def flow() -> int:
            return len(item.map(range(items)).results)

        attempt(flow)

    return provoke


def repeats(times: int, *, same: bool) -> Any:
    """A step that is called again and again."""

    def provoke(machine: Machine) -> None:
        @step(name="search", retry=None)
        def search(query: str) -> str:
            return "no results"

        @workflow(name="flow")
        def flow() -> None:
            for number in range(times):
                search("Pariss" if same else f"place {number}")

        attempt(flow)

    return provoke


def grows(by: int) -> Any:
    """An agent that carries everything along."""

    def provoke(machine: Machine) -> None:
        @step(name="model", retry=None)
        def model(messages: list[str]) -> int:
            return len(messages)

        @workflow(name="flow")
        def flow() -> None:
            messages = ["go"]
            for number in range(8):
                messages.append(f"{number}" * by)
                model(messages)

        attempt(flow)

    return provoke


def cleans(error: BaseException | None) -> Any:
    """A deferred clean-up."""

    def provoke(machine: Machine) -> None:
        @step(name="remove", retry=None)
        def remove(name: str) -> None:
            if error is not None:
                raise error

        @workflow(name="flow")
        def flow() -> None:
            defer(remove, "tmp-a")

        attempt(flow)

    return provoke


def drifts(*, edited: bool) -> Any:
    """A run whose script is edited between two lives."""

    def provoke(machine: Machine) -> None:
        days = ["monday", "tuesday" if edited else "monday"]

        @step(name="price", retry=None)
        def price(day: str) -> str:
            return day

        @step(name="last", retry=None)
        def last() -> None:
            raise OSError("not yet")

        @workflow(name="flow")
        def flow() -> None:
            price(days.pop(0))
            last()

        attempt(flow)
        machine.boot()
        attempt(flow)

    return provoke


def returns(*types: Any, value: Any) -> Any:
    """A result that is read back under another annotation."""

    def provoke(machine: Machine) -> None:
        for declared in types:

            def made(declared: Any = declared) -> Any:
                def row() -> Any:
                    return value

                row.__annotations__["return"] = declared
                saved = step(name="row", retry=None)(row)

                @step(name="last", retry=None)
                def last() -> None:
                    raise OSError("not yet")

                @workflow(name="flow")
                def flow() -> None:
                    saved()
                    last()

                return flow

            attempt(made())
            machine.boot()

    return provoke


def started(*moments: str) -> Any:
    """A workflow that is called with a time each time, and never comes to its end."""

    def provoke(machine: Machine) -> None:
        @step(name="last", retry=None)
        def last() -> None:
            raise OSError("not yet")

        @workflow(name="flow")
        def flow(moment: str) -> None:
            last()

        for moment in moments:
            attempt(flow, moment)

    return provoke


def jumps(seconds: float) -> Any:
    """The clock is set while a run is under way."""

    def provoke(machine: Machine) -> None:
        @step(name="work", retry=None)
        def work(number: int) -> int:
            machine.world.time += seconds if number == 1 else 1.0
            return number

        @workflow(name="flow")
        def flow() -> None:
            for number in range(3):
                work(number)

        attempt(flow)

    return provoke


def damages(*, really: bool) -> Any:
    """A byte of a saved result flips."""

    def provoke(machine: Machine) -> None:
        @step(name="work", retry=None)
        def work() -> str:
            return "x" * 50

        @step(name="more", retry=None)
        def more() -> str:
            return "more"

        @step(name="last", retry=None)
        def last() -> None:
            raise OSError("not yet")

        @workflow(name="flow")
        def flow() -> None:
            work()
            more()
            last()

        attempt(flow)
        if really:
            machine.engine.store.journal.write(
                (),
                lambda connection: (
                    connection.execute("UPDATE step SET output = CAST(output || x'00' AS BLOB) WHERE seq = 1") and None
                ),
            )
        machine.boot()
        attempt(flow)

    return provoke


def sized(size: int, **options: Any) -> Any:
    """A result of that many bytes, of a step with these options."""

    def provoke(machine: Machine) -> None:
        @step(name="call", **options)
        def call() -> bytes:
            return os.urandom(size)

        @workflow(name="flow")
        def flow() -> int:
            return len(call())

        flow()

    return provoke


def bad_json() -> json.JSONDecodeError:
    return json.JSONDecodeError("Expecting value", "<html>", 0)


PROVOKED: dict[str, tuple[Any, Any]] = {
    "silent-failure": (runs({"status": "error", "error": "declined"}), runs({"status": "ok", "error": None})),
    "phantom-retry": (
        runs(KeyboardInterrupt(), "paid", lives=2),
        runs(KeyboardInterrupt(), "paid", lives=2, keyed=True),
    ),
    "phantom-retry 2": (started("2026-11-23T10:00:01", "2026-11-24T11:30:07"), started("north", "south")),
    "cascading-timeout": (runs(TimeoutError("no answer")), runs(TimeoutError("no answer"), "fine")),
    "state-drift": (damages(really=True), damages(really=False)),
    "context-saturation": (grows(40_000), grows(100)),
    "tool-loop": (repeats(30, same=True), repeats(30, same=False)),
    "rate-limit-spiral": (
        runs(answer(429), answer(429), answer(429), "fine"),
        runs(answer(429), "fine"),
    ),
    "incomplete-cleanup": (cleans(PermissionError("busy")), cleans(None)),
    "poison-item": (
        maps(lambda n: ValueError("unparsable row") if n == 3 else None),
        maps(lambda n: ConnectionError("refused") if n == 3 else None),
    ),
    "credential-expired": (runs(answer(401)), runs(answer(404))),
    "schema-change": (returns(str, int, value="12"), returns(str, str, value="12")),
    "schema-change 2": (runs(bad_json()), runs(bad_json(), "fine")),
    "schema-change 3": (runs(KeyError("amount"), first=1), runs(KeyError("amount"))),
    "disk-full": (runs(OSError(errno.ENOSPC, "No space left on device")), runs(OSError(errno.EIO, "I/O error"))),
    "clock-jump": (jumps(-3600.0), jumps(3.0)),
    "code-drift": (drifts(edited=True), drifts(edited=False)),
    "lock-contention": (
        runs(type("DeadlockDetected", (Exception,), {"sqlstate": "40P01"})("deadlock detected")),
        runs(type("UndefinedError", (Exception,), {"sqlstate": "XX000"})("internal error")),
    ),
    "over-budget": (runs(answer(402)), runs(answer(400))),
    "oversized-payload": (sized(2_000_000, artifact_above=None), sized(2_000_000)),
    "out-of-memory": (
        runs(subprocess.CalledProcessError(-9, "convert")),
        runs(subprocess.CalledProcessError(-15, "convert")),
    ),
}
"""By entry: what provokes it, and what looks alike."""
