"""The file that the processes of a state file share about services: atomic, cheap while all is well, not in the way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from perdure.core.execution.effects import Report
from perdure.core.policies import breaker
from perdure.core.policies.breaker import BreakerPolicy, BreakerState, Ticket, isolate
from perdure.core.policies.guard import Guard, Pass
from perdure.engines.guards import Guards
from perdure.engines.runtime.clock import RealWorld
from perdure.store.services import Opening, Services


def one_more(state: BreakerState, now: float) -> tuple[BreakerState, int]:
    return msgspec.structs.replace(state, changed=now, openings=state.openings + 1), state.openings


def test_changes_of_threads_and_connections_are_one_after_the_other(tmp_path: Path) -> None:
    """Two connections with four threads each: every change builds on the one before, none is lost."""
    both = [Services(tmp_path / "state.db", time.time) for _ in range(2)]
    seen: list[int] = []

    def work(services: Services) -> None:
        seen.extend(services.update("breaker", "svc", one_more) for _ in range(25))

    threads = [threading.Thread(target=work, args=(services,)) for services in both for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(200))
    for services in both:
        services.close()


def test_while_all_is_well_nothing_is_written(tmp_path: Path) -> None:
    """A hundred calls of a healthy service are let through and reported without one write, or a lock."""
    guards = Guards(tmp_path / "state.db", RealWorld())
    guard = Guard("svc", BreakerPolicy())

    def written() -> int:
        return guards.services._using(lambda it: it.total_changes() + len(list(tmp_path.glob("*-locks/*"))))

    before = written()
    for _ in range(100):
        answer = guards.admit(guard)
        assert isinstance(answer, Pass)
        guards.report(Report(guard, answer.ticket, "success"))
    assert written() == before
    guards.close()


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    """And the next one goes on from what there was."""
    services = Services(tmp_path / "state.db", time.time)
    services.update("breaker", "svc", one_more)
    with pytest.raises(ZeroDivisionError):
        services.update("breaker", "svc", lambda state, now: (one_more(state, now)[0], 1 // 0))
    assert services.update("breaker", "svc", one_more) == 1
    services.close()


def test_who_has_the_file_open_notices_that_it_was_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two processes that went on with two files would let twice as many probes through."""
    first, second = Services(tmp_path / "state.db", time.time), Services(tmp_path / "state.db", time.time)
    first.update("breaker", "svc", one_more)
    assert second.update("breaker", "svc", one_more) == 1
    with caplog.at_level(logging.WARNING, logger="perdure"):
        first._using(lambda it: it.execute("DROP TABLE cell"))
        assert first.update("breaker", "svc", one_more) == 0
        assert second.update("breaker", "svc", one_more) == 1
        first.update("breaker", "svc", lambda state, now: (isolate(state, now), None))
    state = second.about("svc")["breaker"]
    assert isinstance(state, BreakerState)
    assert state.mode == "isolated"
    assert caplog.text.count("set aside") == 1
    first.close()
    second.close()


def test_a_deleted_file_is_made_anew(tmp_path: Path) -> None:
    """Somebody cleans up while the program runs."""
    services = Services(tmp_path / "state.db", time.time)
    services.update("breaker", "svc", one_more)
    for path in tmp_path.glob("state.db-services*"):
        path.unlink()
    assert services.about("svc") == {}
    assert services.update("breaker", "svc", one_more) == 0
    assert services.path.exists()
    services.close()


def test_the_last_openings_of_a_breaker_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From when to when each was, with its failure; a probe that fails goes on with the same one. Of a time, those that
    reach into it; of each breaker the last ones, and others' stay."""
    monkeypatch.setattr("perdure.store.services.KEPT", 3)
    now = [100.0]
    services, policy = Services(tmp_path / "state.db", lambda: now[0]), BreakerPolicy(failures=1, cooldown=10)

    def at(moment: float, change: Callable[[BreakerState, float], BreakerState], name: str = "svc") -> None:
        now[0] = moment
        services.update("breaker", name, lambda state, now: (change(state, now), None))

    def fails(error: str) -> Callable[[BreakerState, float], BreakerState]:
        def change(state: BreakerState, now: float) -> BreakerState:
            state, ticket = breaker.admit(state, policy, now, "a", "me", lambda whose: True)
            assert isinstance(ticket, Ticket)
            return breaker.report(state, policy, now, ticket, "failure", error)

        return change

    at(100, isolate, "other")
    at(100, fails("down"))
    at(120, fails("down still"))
    at(130, breaker.reset)
    assert services.openings(0, 1000) == [
        Opening("other", 100, None, "isolated", ""),
        Opening("svc", 100, 130, "open", "down"),
    ]
    for number in range(3):
        at(200 + 10 * number, fails(f"again {number}"))
        at(205 + 10 * number, breaker.reset)
    assert [one.error for one in services.openings(0, 1000) if one.name == "svc"] == ["again 0", "again 1", "again 2"]
    assert [one.error for one in services.openings(206, 212)] == ["", "again 1"]
    services.close()


def test_a_file_of_before_openings_were_kept_goes_on(tmp_path: Path) -> None:
    """The table is added to a file of version 1; what its breakers knew is still there."""
    services = Services(tmp_path / "state.db", time.time)
    services.update("breaker", "svc", lambda state, now: (isolate(state, now), None))
    services._using(lambda it: it.execute("DROP TABLE opening; PRAGMA user_version = 1").fetchall())
    services.close()
    again = Services(tmp_path / "state.db", time.time)
    assert again.openings(0, 1e12) == []
    assert getattr(again.about("svc")["breaker"], "mode", None) == "isolated"
    again.update("breaker", "svc", lambda state, now: (breaker.reset(state, now), None))
    again.close()
