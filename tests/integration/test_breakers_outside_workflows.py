"""Breakers and rate limits around plain code, in all their forms, and shared by threads."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import FakeWorld, Trouble, replace
from perdure.api.breaker import Breaker
from perdure.api.rate import Rate
from perdure.core.policies import rate as rates
from perdure.core.policies.rate import RateState
from perdure.engines import guards
from perdure.errors import BreakerOpen


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeWorld:
    """Time passes for breakers outside of workflows when they wait, and only then."""
    state, world = tmp_path / "state.db", FakeWorld()
    monkeypatch.setenv("PERDURE_STATE", str(state))
    monkeypatch.setitem(guards._alone, state, guards.Guards(state, world))
    replace(monkeypatch, time, "sleep", world.sleep)
    return world


def test_alone_in_all_its_forms(alone: FakeWorld) -> None:
    """with, async with, above a function of either kind, around a call: a failure counts in each, and open is open."""
    breaker = Breaker("svc", failures=5)

    def broken(n: int) -> int:
        raise Trouble(n)

    async def abroken(n: int) -> int:
        raise Trouble(n)

    async def block() -> None:
        async with breaker:
            raise Trouble

    with pytest.raises(Trouble), breaker:
        raise Trouble
    with pytest.raises(Trouble):
        breaker(broken)(1)
    with pytest.raises(Trouble):
        asyncio.run(breaker(abroken)(1))
    with pytest.raises(Trouble):
        breaker.call(broken, 1)
    assert breaker.state == "closed"
    with pytest.raises(Trouble):
        asyncio.run(block())
    assert breaker.state == "open"
    with pytest.raises(BreakerOpen) as refused:
        breaker.call(broken, 1)
    assert refused.value.retry_after == 30
    breaker.reset()
    assert breaker.call(len, "abc") == 3
    breaker.isolate()
    with pytest.raises(BreakerOpen), breaker:
        raise AssertionError("it is isolated")


def test_alone_it_waits_if_its_breaker_says_wait(alone: FakeWorld) -> None:
    """when_open="wait": the next caller comes back as soon as the cool-down is over, and probes."""
    breaker = Breaker("svc", failures=1, cooldown="100ms", when_open="wait")
    with pytest.raises(Trouble), breaker:
        raise Trouble
    with breaker:
        assert breaker.state == "half-open"
    assert breaker.state == "closed"
    assert 0.1 - 1e-6 <= sum(alone.slept) <= 0.12


def test_a_rate_alone_is_shared_by_threads(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """Four threads, one limit: no two calls are closer than it says."""
    take = rates.take

    def noting(state: RateState, limit: rates.Rate, now: float, turn: Any = None) -> Any:
        after, queued = take(state, limit, now, turn)
        if queued is None:
            times.append(now)
        return after, queued

    monkeypatch.setattr(rates, "take", noting)
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    rate, times = Rate("100/s", name="api"), list[float]()

    def work() -> None:
        for _ in range(5):
            with rate:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 20
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 1 / 100
