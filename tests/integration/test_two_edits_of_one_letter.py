"""Two people edit the input of one dead letter at a time: the second one is told, and overwrites nothing."""

from __future__ import annotations

import io

import pytest

from conftest import Machine
from perdure import step, workflow
from perdure.cli import main
from perdure.engines.local import engine as local
from perdure.errors import PerdureError
from perdure.operations.dead_letters import find_letter
from perdure.operations.dlq_edit import begin_edit, end_edit, take_back
from perdure.operations.letter_input import letter_input
from perdure.operations.location import Location, opened


@step(retry=None)
def twice_edited(street: str) -> str:
    raise ValueError("no street")


@workflow
def shipped_nowhere() -> None:
    twice_edited.map([""])


def test_changes_come_from_standard_input_and_not_beside_a_reset(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--changes -` is a value, and no option; a change that a reset would drop is refused, and nothing is done."""
    shipped_nowhere()
    local.close_all()
    monkeypatch.setattr("sys.stdin", io.StringIO('{"street": "High Street"}'))
    assert main(["dlq", "edit", "1", "--changes", "-"]) == 0
    for more in (["--set", 'street="Low Street"'], ["--changes", "-"]):
        assert main(["dlq", "edit", "1", "--reset", *more]) == 2
    assert "--reset is given with --set or --changes" in capsys.readouterr().err
    (place,) = letter_input(Location(machine.state, "a test"), "1").places
    assert place.value == "High Street"


def test_an_edit_of_what_was_edited_meanwhile_is_refused(machine: Machine) -> None:
    """Whoever has looked first and writes last: by the editor, by the version that a page has shown, by a reset."""
    shipped_nowhere()
    location = Location(machine.state, "a test")
    version = letter_input(location, "1").version
    ann, bob = begin_edit(location, "1"), begin_edit(location, "1", version=version)
    ann.arguments.set("0", "Ann's")
    bob.arguments.set("0", "Bob's")
    assert end_edit(location, ann)
    for late in (
        lambda: end_edit(location, bob),
        lambda: begin_edit(location, "1", version=version),
        lambda: take_back(location, "1", version),
    ):
        with pytest.raises(PerdureError) as refused:
            late()
        assert refused.value.code == "input-has-changed"
    (place,) = letter_input(location, "1").places
    assert (place.path, place.value, place.recorded) == ("street", "Ann's", "")
    take_back(location, "1", letter_input(location, "1").version)
    with opened(location) as store:
        assert find_letter(store, "1").input is None
