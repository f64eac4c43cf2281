"""Workflows that do not fit into a worker's cache are replayed."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.conformance.bench import Bench, ledger
from tests.conformance.cluster_steps import atick, tick

from perdure import workflow
from perdure.engines.temporal import worker


def test_a_full_cache(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workflows that do not fit into a worker's cache are replayed; their threads do not pile up."""
    monkeypatch.setattr(worker, "CACHED", 2)

    called: list[int] = []

    @workflow
    def crowded(n: int) -> int:
        called.append(n)
        for _ in range(4):
            n = tick(n * 100)
        return n

    @workflow
    async def acrowded(n: int) -> int:
        async def branch(number: int) -> int:
            await asyncio.sleep(0.01 * number)
            return await atick(n * 1000 + number)

        called.append(n)
        for _ in range(2):
            n = max(await asyncio.gather(*(branch(number) for number in range(3))))
        return n

    before = _workflow_threads()
    handles = [crowded.start(n) for n in range(1, 5)] + [acrowded.start(n) for n in range(1, 5)]
    assert len({handle.result(60) for handle in handles}) == 8
    assert len(ledger) == 4 * 4 + 4 * 6
    assert len(called) > 8, "some were replayed"
    assert _workflow_threads() <= before


def _workflow_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "perdure-workflow"}
