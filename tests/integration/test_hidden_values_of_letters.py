"""What a page does not show as it is cannot be edited there: no credential becomes three stars."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from conftest import Machine
from perdure import step, workflow
from perdure.errors import OptionError
from perdure.operations.letter_input import letter_input
from perdure.operations.location import Location
from perdure.web.acting import Edited, edit

URL = "https://bob:hunter22@shop.example/x"


@step(retry=None)
def unsent(order: dict[str, Any]) -> None:
    raise ValueError("no network")


@workflow
def sends_nothing() -> None:
    unsent.map([{"url": URL, "note": "a\u202eb", "long": "x" * 100_000, "lines": "a\n\tb", "n": 1 << 60, "plain": "c"}])


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
