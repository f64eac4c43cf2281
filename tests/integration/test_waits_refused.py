"""Where nothing may wait, and what cannot be waited for: an error before anything is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

import pytest

import perdure
from conftest import Machine, replace
from perdure import step, workflow
from perdure.errors import OptionError, UsageError


@workflow
async def blocks_its_loop() -> None:
    perdure.sleep(1)


@workflow
async def waits_on_a_thread() -> None:
    await asyncio.to_thread(perdure.sleep, 1)


@step
def waiting_step() -> None:
    perdure.wait_for("x")


@workflow
def calls_a_waiting_step() -> None:
    waiting_step()


def test_where_nothing_may_wait(machine: Machine) -> None:
    """In a step, in an event loop, outside of a workflow: an error before anything is written."""
    with pytest.raises(UsageError, match="would block the event loop"):
        asyncio.run(blocks_its_loop())
    with pytest.raises(UsageError, match="on a thread of an async workflow"):
        asyncio.run(waits_on_a_thread())
    with pytest.raises(UsageError, match="is called in step 'waiting_step'"):
        calls_a_waiting_step()
    with pytest.raises(UsageError, match="outside a workflow"):
        perdure.wait_for("x")


def test_outside_of_a_workflow_sleep_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the function of that name in the library of Python does."""
    slept: list[float] = []
    replace(monkeypatch, time, "sleep", slept.append)
    perdure.sleep("2m")
    assert slept == [120]


@pytest.mark.parametrize(
    "bad",
    [
        lambda: perdure.sleep(-1),
        lambda: perdure.sleep("101y"),
        lambda: perdure.sleep(float("inf")),
        lambda: perdure.sleep_until(datetime(2065, 1, 1)),
        lambda: perdure.timer(datetime(2065, 1, 1)),
        lambda: perdure.sleep_until("tomorrow"),  # type: ignore[arg-type]
        lambda: perdure.event(""),
        lambda: perdure.event("perdure.x"),
        lambda: perdure.event("a\nb"),
        lambda: perdure.event("a", key="\0"),
    ],
)
def test_what_cannot_be_waited_for_is_refused(bad: Callable[[], object]) -> None:
    """Before anything is written, with what to give instead."""
    with pytest.raises(OptionError) as caught:
        bad()
    assert caught.value.hint
