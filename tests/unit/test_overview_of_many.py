"""What `perdure ui` and `perdure doctor` first show where there is very much: a few of each, and how many more."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

import perdure
from conftest import Machine
from perdure import Breaker, workflow
from perdure.errors import Suspended
from perdure.operations import doctor, needs, overview, waiting_runs
from perdure.operations.location import locate
from perdure.store.runs import Store


@workflow
def overviewed_ask(order: int) -> bool:
    return perdure.approval(f"refund {order}?", timeout="2d").approved


@workflow
def overviewed_nap(number: int) -> None:
    perdure.sleep("7d")


@pytest.fixture
def state(machine: Machine) -> Path:
    return machine.state


def look(state: Path) -> overview.Overview:
    store = Store(state, read_only=True)
    try:
        return overview.overview_of(store, locate(state))
    finally:
        store.close()


def test_many_open_breakers_are_not_one_by_one_what_needs_somebody(state: Path):
    """The first few are; one line counts the others, and all are listed where services are."""
    for number in range(9):
        with suppress(ConnectionError), Breaker(f"overviewed-{number}", failures=1, cooldown="1h"):
            raise ConnectionError("refused")
    Store(state).close()
    found = look(state)
    titles = [one.title for one in found.needs if one.kind == "service"]
    assert len(titles) == needs.SERVICES
    assert titles[-1] == f"{9 - needs.SERVICES + 1} more breakers let no call through"
    assert len(found.services) == 9


def test_alert_settings_that_are_wrong_hide_nothing(state: Path, monkeypatch: pytest.MonkeyPatch):
    """The overview is shown, and says so."""
    monkeypatch.setenv("PERDURE_ALERTS", "nonsense")
    Store(state).close()
    (need,) = look(state).needs
    assert (need.kind, need.title) == ("alerts", "Alerts of these settings reach nobody")
    assert "not an address" in need.detail


def test_runs_that_ask_somebody_are_listed_before_newer_ones(state: Path):
    """However many have begun to wait since; of which there are more is said."""
    for call in (overviewed_ask, overviewed_ask, overviewed_nap, overviewed_nap, overviewed_nap):
        with suppress(Suspended):
            call(1)
    store = Store(state, read_only=True)
    try:
        found, more = waiting_runs.waiting_runs(store, most=1)
    finally:
        store.close()
    assert [one.workflow for one in found] == ["overviewed_ask", "overviewed_nap"]
    assert (found[0].asks, more) == (["refund 1?"], ["suspended"])


def test_doctor_counts_what_it_does_not_list(state: Path, monkeypatch: pytest.MonkeyPatch):
    """Of many queues that no worker serves it names the first few."""
    from perdure.operations.unserved import Unserved

    waits = [Unserved("queue", f"1 run in queue {number}", "start a worker") for number in range(40)]
    monkeypatch.setattr(doctor, "unserved", lambda store, now: iter(waits))
    Store(state).close()
    queues = [one for one in doctor.examine(locate(state)).state if one.name in ("queue", "queues")]
    assert [one.name for one in queues] == ["queue"] * doctor.MENTIONED + ["queues"]
    assert f"{40 - doctor.MENTIONED} more queues" in queues[-1].finding
