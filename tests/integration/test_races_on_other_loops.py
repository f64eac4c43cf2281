"""Races on a loop that keeps to itself what it has ready to run, as uvloop does."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from tests.integration import race_programs, race_world
from tests.integration.race_world import Deaths, VirtualLoop

from perdure.engines.runtime import event_order

TURNS = 3 * event_order.QUIET_TURNS


class ClosedLoop(VirtualLoop):
    """asyncio may see what is ready, and perdure may not."""

    @property
    def _ready(self) -> deque[Any]:
        if "perdure" in sys._getframe(1).f_globals["__name__"]:
            raise AttributeError
        return self._hidden

    @_ready.setter
    def _ready(self, ready: deque[Any]) -> None:
        self._hidden = ready


def test_a_branch_that_takes_many_turns_to_its_next_call_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the workflow still has to do is known on such a loop too: no count of turns decides a race on resume."""
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "races.db"))
    monkeypatch.setattr(race_world, "VirtualLoop", ClosedLoop)
    monkeypatch.setattr(race_programs.Life, "seconds", lambda self, name: 10.0 if name == "b" else 0.0)

    async def long_way(name: str) -> str:
        seen: list[str] = []

        async def beside() -> None:
            seen.append(await race_programs.do("a"))
            for _ in range(TURNS):
                await asyncio.sleep(0)
            seen.append("arrived")

        task = asyncio.create_task(beside())
        await race_programs.do("b")
        decision = await race_programs.decide(f"{name}: {seen}")
        await task
        return decision

    monkeypatch.setitem(race_programs.KINDS, "long way", long_way)
    deaths = Deaths(tmp_path)
    node = ["sequence", "s", [["long way", "w"], ["work", "c"]]]
    first, _ = deaths.live(node, 1, commit=4)
    assert first.executed == {"a": 1, "b": 1, "w: ['<a>', 'arrived']": 1}
    second, result = deaths.live(node, 2)
    assert result == "w: ['<a>', 'arrived']<c>"
    assert second.executed == {"c": 1}
    assert "call_soon" not in vars(deaths.loop), "what is wrapped for a run is unwrapped with its end"
