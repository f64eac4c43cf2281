"""Stubs of `perdure.testing` hold wherever a step is executed: a test that stubs a payment does not pay."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from perdure import step, workflow
from perdure.engines.processes import template
from perdure.errors import NotFound
from perdure.testing import durable


@step(isolate=True, retry=None)
def stubbed_isolated(n: int) -> int:
    return os.getpid()


@step(isolate=True, retry=None)
async def stubbed_isolated_async(n: int) -> int:
    return os.getpid()


@step(retry=None)
def stubbed_pooled(n: int) -> int:
    return os.getpid()


@workflow
def stubs_isolated() -> list[int]:
    return [stubbed_isolated(1), stubbed_isolated(2)]


@workflow
async def stubs_isolated_async() -> list[int]:
    return [await stubbed_isolated_async(1), await stubbed_isolated_async(2)]


@workflow
def stubs_pooled() -> list[int]:
    return list(stubbed_pooled.map(range(2), processes=1).results)


SHAPES = [
    (stubbed_isolated, stubs_isolated),
    (stubbed_isolated_async, lambda: asyncio.run(stubs_isolated_async())),
    (stubbed_pooled, stubs_pooled),
]


@pytest.mark.parametrize(("stubbed", "flow"), SHAPES, ids=["isolate", "async", "processes"])
def test_a_stub_holds_in_place_of_a_process(monkeypatch: pytest.MonkeyPatch, stubbed: Any, flow: Any) -> None:
    """Nothing is executed in another process, which would find the step itself."""
    monkeypatch.setattr(template, "_template", None)
    monkeypatch.setattr("perdure.engines.processes.isolated_step.start_child", None)
    with durable() as run:
        run.stub(stubbed, returns=9)
        assert flow() == [9, 9]


def test_the_step_itself_is_executed_in_its_process_once_a_stub_is_used_up() -> None:
    """`times=` counts the attempts that the stub stands for."""
    with durable() as run:
        run.stub("stubbed_isolated", side_effect=lambda n: -n, times=1)
        first, second = stubs_isolated()
    assert first == -1
    assert second > 0
    assert second != os.getpid()


def test_a_crash_at_a_name_that_no_step_has_is_refused() -> None:
    """It would never come, and the test would pass for nothing."""
    with durable() as run, pytest.raises(NotFound, match="there is no step 'stubbed_isolatde'"):
        run.crash_at("stubbed_isolatde")
