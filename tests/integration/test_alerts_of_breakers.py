"""A circuit breaker that stays open is alerted once, while the runs wait for it, and so is that it has closed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from deaths import all_gone

from conftest import Scripts
from sinks import Sink, serving

BREAKER = """
import os
from pathlib import Path
from perdure import Breaker, Retry, step, workflow

STRIPE = Breaker("stripe", failures=1, cooldown=0.1)


@step(breaker=STRIPE, retry=Retry(attempts=100_000, delay=0.02, factor=1, jitter=0, total="10m"))
def charge(n):
    if Path("down").exists():
        raise ConnectionError("the service is down")
    return n


@workflow(alert=os.environ["HOOK"])
def nightly():
    print("waiting", flush=True)
    charge(1)


nightly()
"""


@pytest.fixture
def hook() -> Iterator[Sink]:
    with serving(Sink()) as sink:
        yield sink


def test_a_breaker_that_stays_open(scripts: Scripts, hook: Sink) -> None:
    """A warning, once for two processes that wait for it, while they wait; and once that it has closed."""
    path = scripts.write(BREAKER)
    (scripts.folder / "down").touch()
    env = {"HOOK": f"http://{hook.address}/x", "PERDURE_ALERT_BREAKER_AFTER": "0.4s"}
    first = scripts.start(path, **env)
    other = scripts.start(scripts.write(BREAKER, "other.py"), **env)
    assert hook.wait(1)
    (alert,) = hook.alerts
    assert (alert["what"], alert["level"]) == ("breaker-open", "warning")
    assert "stripe" in alert["text"]
    assert "the service is down" in alert["text"]
    assert first.poll() is None
    (scripts.folder / "down").unlink()
    for process in (first, other):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert hook.wait(2)
    assert all_gone(scripts.folder)
    assert [alert["what"] for alert in hook.alerts] == ["breaker-open", "recovered"]
