"""Damage in the file of services stops no run: the state begins anew, and the log says so."""

from __future__ import annotations

import logging

import pytest

from conftest import Machine
from perdure import step, workflow
from perdure.core.policies.breaker import BreakerState


def test_a_damaged_file_of_services_is_set_aside(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """No run stops for it: it begins anew, the damaged one is kept, and the log says so."""

    @step(breaker="svc")
    def call() -> str:
        return "well"

    @workflow
    def main() -> str:
        return call()

    assert main() == "well"
    machine.engine.resources.guards.isolate("svc")
    machine.engine.close()
    services = machine.state.with_name("state.db-services")
    services.write_bytes(b"this is no database, and never was one" * 200)
    machine.boot()
    with caplog.at_level(logging.WARNING, logger="perdure"):
        assert main() == "well"
    assert "set aside" in caplog.text
    assert len(list(machine.folder.glob("state.db-services.damaged-*"))) >= 1
    assert oct(services.stat().st_mode & 0o777) == "0o600"


def test_damage_within_a_cell_is_no_more_than_that(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """A state that cannot be read begins anew."""
    guards = machine.engine.resources.guards
    guards.isolate("svc")
    guards.services._using(lambda it: it.execute("UPDATE cell SET state = x'c1'"))
    with caplog.at_level(logging.WARNING, logger="perdure"):
        assert guards.services.about("svc")["breaker"] == BreakerState()
    assert "damaged" in caplog.text


def test_a_cell_that_was_changed_begins_anew(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """Also one that can still be read: it is under a checksum, with whose it is."""
    services = machine.engine.resources.guards.services
    machine.engine.resources.guards.isolate("svc")
    for change in ("state = CAST(replace(state, 'isolated', 'isolatee') AS BLOB)", "name = 'other'"):
        services._using(lambda it, change=change: it.execute(f"UPDATE cell SET {change}"))  # type: ignore[misc]
        with caplog.at_level(logging.WARNING, logger="perdure"):
            assert [cell for _, _, cell in services.all()] == [BreakerState()]
        assert "does not match its checksum" in caplog.text


def test_a_cell_of_a_kind_that_is_none(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """It is left out, and the log says so."""
    services = machine.engine.resources.guards.services
    machine.engine.resources.guards.isolate("svc")
    services._using(
        lambda it: it.execute("PRAGMA ignore_check_constraints = ON; UPDATE cell SET kind = 'breakes'").fetchall()
    )
    with caplog.at_level(logging.WARNING, logger="perdure"):
        assert services.all() == []
    assert "breakes" in caplog.text


def test_cells_without_a_checksum_get_one(machine: Machine) -> None:
    """A file of before is brought up to date when it is opened, and an open breaker stays open."""
    services = machine.engine.resources.guards.services
    machine.engine.resources.guards.isolate("svc")
    services._using(
        lambda it: it.execute("UPDATE cell SET state = substr(state, 5); PRAGMA user_version = 0").fetchall()
    )
    services.close()
    ((_, _, cell),) = services.all()
    assert isinstance(cell, BreakerState)
    assert cell.mode == "isolated"
