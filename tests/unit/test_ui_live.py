"""What an open page is told: nothing that changes after its first event is missed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from perdure.store.runs import Store
from perdure.web import live


class _Looks:
    """Notices one change, that comes at the moment at which a page has had its first event."""

    first_event = False
    looks = 0
    around = False
    runs = ("a",)

    def __init__(self, path: Path) -> None:
        self._known = self.first_event

    def has_changed(self, asked: Sequence[str] = (), pause: float = 0.0) -> bool:
        type(self).looks += 1
        before, self._known = self._known, self.first_event
        return self.looks > 1 and before != self._known

    def close(self) -> None:
        pass


def test_a_change_right_after_the_first_event_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file is looked at before that event is sent: a change between the two would look like what was there."""
    monkeypatch.setattr(live, "_Watcher", _Looks)
    monkeypatch.setattr(live, "RECORDS", 0.01)

    async def page() -> list[bytes]:
        events = live.Live(tmp_path / "state.db").events()
        first = await anext(events)
        _Looks.first_event = True
        told = [first, await anext(events)]
        await events.aclose()
        return told

    assert asyncio.run(page()) == [
        b'event: change\ndata: {"number":0,"runs":[],"around":false}\n\n',
        b'event: change\ndata: {"number":1,"runs":["a"],"around":false}\n\n',
    ]


def test_a_state_file_that_goes_or_is_exchanged_is_told(tmp_path: Path) -> None:
    """Once each time, also that it is back: what was open would look as if nothing had happened."""
    state = tmp_path / "state.db"
    Store(state).close()
    watcher = live._Watcher(state)

    assert [watcher.has_changed(), watcher.has_changed()] == [False, False]
    away = state.rename(tmp_path / "away.db")
    assert [watcher.has_changed(), watcher.has_changed()] == [True, False]
    away.rename(state)
    assert [watcher.has_changed(), watcher.has_changed()] == [True, False]
    Store(tmp_path / "other.db").close()
    (tmp_path / "other.db").rename(state)
    assert watcher.has_changed()
    watcher.close()
