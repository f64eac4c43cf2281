"""The file of breakers and rate limits: nothing of a run depends on it, so whatever is wrong with it stops none."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure.core.policies.breaker import BreakerState
from perdure.core.policies.rate import PauseState
from perdure.errors import StateReadOnly
from perdure.store.services import KEPT, VERSION, Services

NOW = 1000.0


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    made = Services(tmp_path / "state.db", lambda: NOW)
    yield made
    made.close()


def put(services: Services, mode: str, changed: float, name: str = "bank", error: str = "") -> None:
    services.update(
        "breaker",
        name,
        lambda state, _: (msgspec.structs.replace(state, mode=mode, changed=changed, error=error), None),
    )


def change(services: Services, *statements: str) -> None:
    """What another program does to the file."""
    services.close()
    connection = sqlite3.connect(services.path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def set_aside(services: Services) -> list[str]:
    return [path.name for path in services.path.parent.iterdir() if ".damaged-" in path.name]


def test_a_file_that_is_not_there_knows_nothing_and_is_not_made(services: Services) -> None:
    """Looking changes nothing."""
    assert services.all() == services.openings(0, NOW) == []
    assert not services.path.exists()


def test_a_change_that_fails_changes_nothing(services: Services) -> None:
    """And the next one is made as if there had been none."""
    put(services, "open", 1.0)

    def fail(state: BreakerState, now: float) -> Any:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        services.update("breaker", "bank", fail)
    put(services, "closed", 2.0)
    assert services.about("bank")["breaker"].changed == 2.0


def test_a_state_that_is_the_same_is_not_written(services: Services) -> None:
    """The answer is given, the time is the services' own."""
    assert services.update("breaker", "bank", lambda state, now: (state, now)) == NOW
    assert services.all() == []


def test_openings_are_kept_from_when_to_when(services: Services) -> None:
    """Why it was open, also if a person has isolated it; the latest of each, the earliest first."""
    put(services, "open", 10.0, error="refused")
    put(services, "half-open", 15.0, error="refused")
    put(services, "closed", 20.0)
    put(services, "isolated", 30.0, error="of before")
    found = services.openings(0, NOW)
    assert [(one.began, one.ended, one.how, one.error) for one in found] == [
        (10.0, 20.0, "open", "refused"),
        (30.0, None, "isolated", ""),
    ]
    assert [one.began for one in services.openings(21.0, 29.0)] == []
    assert [one.began for one in services.openings(20.0, 29.0)] == [10.0]
    assert [one.began for one in services.openings(900.0, 950.0)] == [30.0], "it reaches into that time"
    for at in range(100, 100 + 2 * KEPT, 2):
        put(services, "closed", float(at))
        put(services, "open", float(at + 1))
    assert [one.began for one in services.openings(0, NOW)] == [float(at + 1) for at in range(100, 100 + 2 * KEPT, 2)]


@pytest.mark.parametrize("version", [0, 1])
def test_a_file_of_an_earlier_version_keeps_its_states(services: Services, version: int) -> None:
    """Version 0 has no checksums, neither has a table of openings."""
    put(services, "open", 1.0)
    unsealed = ["UPDATE cell SET state = substr(state, 5)"] if version == 0 else []
    change(services, *unsealed, "DROP TABLE opening", f"PRAGMA user_version = {version}")
    assert services.about("bank")["breaker"].mode == "open"
    assert services.openings(0, NOW) == []
    services.close()
    connection = sqlite3.connect(services.path)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.close()
    assert set_aside(services) == []


@pytest.mark.parametrize(
    "statement",
    ["PRAGMA application_id = 7", "DROP TABLE cell", "CREATE TRIGGER t AFTER INSERT ON cell BEGIN SELECT 1; END"],
)
def test_a_file_that_is_not_ours_is_set_aside(
    services: Services, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is kept under another name, and named; what perdure knew of services begins anew."""
    put(services, "open", 1.0)
    change(services, statement)
    assert services.about("bank") == {}
    (aside,) = set_aside(services)
    assert f"it was set aside as {services.path.with_name(aside)}, and all begin closed" in caplog.text
    put(services, "open", 2.0)
    assert services.about("bank")["breaker"].changed == 2.0


def test_a_file_of_other_bytes_is_set_aside(services: Services) -> None:
    """It is no database."""
    services.path.write_bytes(b"no database at all, and long enough to be looked at" * 100)
    put(services, "open", 2.0)
    assert len(set_aside(services)) == 1
    assert services.about("bank")["breaker"].changed == 2.0


def test_a_file_that_another_process_has_set_aside_is_left(services: Services) -> None:
    """What lies there now is that process's new file."""
    put(services, "open", 1.0)
    other = Services(services.path.with_name("state.db"), lambda: NOW)
    services.path.rename(services.path.with_name("damaged before"))
    put(other, "open", 5.0)
    other.close()
    assert services.about("bank")["breaker"].changed == 5.0
    assert set_aside(services) == []


def test_a_state_that_is_damaged_begins_anew_by_itself(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    """The others are as they were; a row of a kind that there is not is named and left out."""
    put(services, "open", 1.0)
    put(services, "open", 3.0, name="mail")
    services.update("pause", "bank", lambda state, now: (PauseState(until=now), None))
    change(
        services,
        "PRAGMA ignore_check_constraints = ON",
        "UPDATE cell SET state = cast(x'00000000' || substr(state, 5) AS BLOB) WHERE name || kind = 'bankbreaker'",
        "INSERT INTO cell (kind, name, state, changed) VALUES ('tea', 'bank', x'00', 0)",
    )
    assert {(kind, name): cell.changed for kind, name, cell in services.all()} == {
        ("breaker", "bank"): BreakerState().changed,
        ("breaker", "mail"): 3.0,
        ("pause", "bank"): services.about("bank")["pause"].changed,
    }
    assert "the saved state of breaker 'bank' is damaged" in caplog.text
    assert "holds a 'tea' of 'bank', which perdure never writes" in caplog.text
    assert set(services.about("bank")) == {"breaker", "pause"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """As an error of the state; no draft is left."""
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(StateReadOnly, match="the file of breakers and rate limits cannot be made"):
        put(Services(tmp_path / "link" / "state.db", lambda: NOW), "open", 1.0)
    assert os.listdir(tmp_path / "other") == []
