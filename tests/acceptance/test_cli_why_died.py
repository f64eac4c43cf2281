"""`perdure why` says how a run was interrupted: in which step its process died, how often, and whether it was seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from why_shop import Shop, opened

from conftest import Scripts


@pytest.fixture
def shop(scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with opened(scripts, capsys, monkeypatch) as shop:
        yield shop


def test_a_death_that_was_not_seen(shop: Shop) -> None:
    """Its step and attempt; that it is not known how; how often in a row, and from when on it is not tried."""
    assert shop.run("deadly") == -9
    said = shop.why()
    assert "is interrupted" in said
    assert "died, 1 step saved" in said
    assert "how it died is not known" in said
    assert "it died in deadly, attempt 1\n" in said
    assert "perdure resume flow-" in said
    assert shop.run("deadly") == -9
    assert "deadly was in flight at 2 crashes in a row; it is tried again until that has happened 3 times" in shop.why()
    assert shop.run("deadly") == -9
    said = shop.why()
    assert "deadly was in flight at 3 crashes in a row, so it is not tried again" in said
    assert "this kind of failure: crash-loop" in said
    shown = shop.printed("show", "last")
    assert "crashes   deadly was in flight at 3 crashes in a row (unseen); is not tried again" in shown
    (suspect,) = shop.json("show", "last")["suspects"]
    assert (suspect["step"], suspect["crashes"], suspect["limit"]) == ("deadly", 3, 3)
    assert shop.run("deadly") == 1
    assert "CrashLoop: " in shop.why()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="how a process died is read from /proc")
def test_a_death_that_was_watched(shop: Shop) -> None:
    """How it died, in which step, at which attempt, for how long, and the most memory that it used."""
    process = shop.begin("stuck", "stuck", PERDURE_ALERTS="exec:/bin/true")
    record = shop.json("show", "last")["process"]
    assert record["memory"] > 1_000_000
    process.kill()
    process.wait()
    shown = shop.printed("show", "last")
    assert "died      killed by SIGKILL" in shown
    assert "in flight stuck('a'), attempt 2, for " in shown
    assert "memory    up to " in shown
    said = shop.why()
    assert "killed by SIGKILL" in said
    assert "it died in stuck('a'), attempt 2, for " in said
    assert "it had used up to " in said


def test_a_run_that_was_broken_off(shop: Shop) -> None:
    """No process executes it, none died, and it can be gone on with."""
    assert shop.run("stop") == 3
    said = shop.why()
    assert "by SystemExit: 3, 1 step saved" in said
    assert "died" not in said
    assert "go on:    perdure resume flow-" in said
