"""What is hidden by the name that it stands under; what a page does not show as it is cannot be edited there."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

import perdure
from conftest import Machine
from perdure import step, workflow
from perdure.cli import main
from perdure.core.values import codec
from perdure.engines.local import engine as local
from perdure.errors import OptionError, Suspended
from perdure.operations.letter_input import letter_input
from perdure.operations.location import Location, opened
from perdure.store import dead_letters
from perdure.web.api_acting import Edited, edit

KEY = "tulip-garden-walk"
URL = "https://bob:hunter22@shop.example/x"


@step(retry=None)
def unsent(order: dict[str, Any]) -> None:
    raise ValueError("no network")


@workflow
def sends_nothing() -> None:
    unsent.map([{"url": URL, "note": "a\u202eb", "long": "x" * 100_000, "lines": "a\n\tb", "n": 1 << 60, "plain": "c"}])


@dataclass
class Account:
    number: int
    api_key: str
    headers: dict[str, Any]


@step(retry=None)
def unpaid(account: Account) -> None:
    raise ValueError("no network")


@step(retry=None)
def not_in(password: str) -> None:
    raise ValueError("no network")


@workflow
def pays_nothing() -> None:
    unpaid.map([Account(1, KEY, {"Authorization": f"Basic {KEY}", "pin": {"secret": [KEY]}, "x": 2})])
    not_in.map([KEY])


def test_a_credential_is_known_by_the_names_that_it_stands_under(machine: Machine) -> None:
    """A place is shown and edited alone, and is hidden as in the whole: by its field, its key, its parameter."""
    pays_nothing()
    location = Location(machine.state, "a test")
    shown = letter_input(location, "1"), letter_input(location, "2")
    assert KEY not in repr(shown)
    places = {place.path: (place.value, place.recorded, place.whole) for one in shown for place in one.places}
    assert places.pop("account.number") == (1, 1, True)
    assert places.pop("account.headers.x") == (2, 2, True)
    hidden = ["account.api_key", "account.headers.Authorization", "account.headers.pin.secret[0]", "password"]
    assert places == dict.fromkeys(hidden, ("***", "***", False))
    desk: Any = SimpleNamespace(location=location)  # it starts no job, so there is none
    for path in hidden[:3]:
        with pytest.raises(OptionError, match="is not shown in full"):
            edit(desk, {"letter": "1"}, Edited(shown[0].script, shown[0].version, {path: "***"}))


def test_an_edited_input_is_printed_without_what_was_not_edited(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """`dlq edit --json` prints the whole input: its credentials are hidden, and stay what they were."""
    pays_nothing()
    local.close_all()
    capsys.readouterr()
    assert main(["dlq", "edit", "1", "--set", "account.number=7", "--json"]) == 0
    out = capsys.readouterr().out
    assert '"number":7' in out
    assert KEY not in out
    with opened(Location(machine.state, "a test")) as store:
        edited = dead_letters.get(store, 1).input
    assert edited is not None
    assert KEY in codec.describe_inputs(edited)


def test_a_value_that_is_not_shown_as_it_is_is_not_edited_from_what_is_shown(machine: Machine) -> None:
    """A hidden credential, an escaped character and a text that is cut are named; a change of one is refused."""
    sends_nothing()
    location = Location(machine.state, "a test")
    shown = letter_input(location, "1")
    hidden = [place.path for place in shown.places if not place.whole]
    assert sorted(hidden) == ["order.long", "order.note", "order.url"]
    assert len(shown.places) == 6
    desk: Any = SimpleNamespace(location=location)  # it starts no job, so there is none
    for path in hidden:
        with pytest.raises(OptionError, match="is not shown in full"):
            edit(desk, {"letter": "1"}, Edited(shown.script, shown.version, {"order.plain": "d", path: "***"}))
    assert letter_input(location, "1").version == shown.version


def test_a_name_hides_what_was_sent_and_what_is_published(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """In the payload that `wait_any` took; of a signal that nobody took, and of a published value, the name is its."""

    @workflow
    def takes_one() -> None:
        perdure.publish("api_token", KEY)
        perdure.wait_any(perdure.event("go"), perdure.timer("1h"))

    with pytest.raises(Suspended):
        takes_one.with_options(id="taker")()
    perdure.signal("taker", "go", {"user": "bob", "password": KEY})
    perdure.signal("taker", "api_token", KEY)
    takes_one.with_options(id="taker")()
    local.close_all()
    capsys.readouterr()
    for command in (["show", "taker"], ["show", "taker", "--json"], ["get", "taker", "api_token"]):
        assert main(command) == 0
        out = capsys.readouterr().out
        assert KEY not in out
        assert "***" in out


def test_an_alert_of_a_workflow_is_recorded_without_the_secrets_of_its_process(machine: Machine) -> None:
    """Whoever reads the record later cannot know them."""

    @workflow
    def alerts_with(password: perdure.Secret[str]) -> None:
        perdure.alert(f"cannot log in with {password.reveal()}")

    alerts_with(perdure.Secret("tulip-garden-walk"))
    (record,) = machine.engine.store.all_records(machine.engine.store.runs()[0].rid)
    assert b"cannot log in with ***" in record.input
    assert b"tulip" not in record.input + record.key
