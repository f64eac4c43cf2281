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
