"""What a person is told of a damaged row is true of that row, and the way on that is named works."""

from __future__ import annotations

import re

import pytest

from conftest import Died, Machine
from perdure import step, workflow
from perdure.cli import main
from perdure.errors import PerdureError


def damage(machine: Machine, statement: str) -> None:
    """Edit the file from outside."""
    machine.engine.store.journal.write((), lambda at: at.execute(statement) and None)


@pytest.mark.parametrize(
    ("statement", "said", "may_have_been_done"),
    [
        ("UPDATE function SET qualname = 'x' WHERE name = 'charge'", "what is known of the function of charge", False),
        ("UPDATE step SET ms = ms + 1 WHERE name = 'charge'", "record #1 (charge)", True),
    ],
)
def test_a_call_is_said_to_be_in_doubt_where_its_record_is_damaged(
    machine: Machine, capsys: pytest.CaptureFixture[str], statement: str, said: str, may_have_been_done: bool
) -> None:
    """`cancel --skip-damaged` says that a call may have been done and is not undone if its record is lost, and not if
    all that is lost is where its function was: to undo that is tried."""

    @step
    def refund() -> None:
        machine.ran.append("refund")

    @step(name="charge", undo=refund)
    def charge() -> None:
        machine.ran.append("charge")

    @workflow
    def flow() -> None:
        charge()
        raise Died

    with pytest.raises(Died):
        flow()
    machine.boot()
    damage(machine, statement)
    (run,) = machine.engine.store.runs()
    main(["cancel", run.id, "--skip-damaged", "--state", str(machine.state)])
    heard = capsys.readouterr()
    text = " ".join((heard.out + heard.err).split())
    assert f"damaged, and given up: {said}" in text
    assert ("may have been done" in text) is may_have_been_done
    assert ("undo:refund" in text) is not may_have_been_done


@step(name="wrong", retry=None)
def wrong(n: int) -> None:
    raise ValueError(n)


@pytest.mark.parametrize("command", [["show"], ["drop"], ["edit", "--set", "n=2"]])
def test_a_damaged_letter_of_an_unfinished_run_names_what_gives_it_up(
    machine: Machine, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """The command can be copied; after it the letter is gone, and the file is sound. `doctor` alone is no way on."""

    @workflow
    def flow() -> None:
        wrong.map([1])
        raise Died

    with pytest.raises(Died):
        flow()
    machine.boot()
    store = machine.engine.store
    damage(machine, "UPDATE dead_letter SET redriven = redriven + 1")
    where = ["--state", str(machine.state)]
    name, *rest = command
    assert main(["dlq", name, "1", *rest, *where]) != 0
    heard = capsys.readouterr()
    found = re.search(r"`perdure (cancel \S+ --skip-damaged)`", heard.err + heard.out)
    assert found is not None, heard
    main([*found[1].split(), *where])
    assert store.check() == []
    assert main(["dlq", "show", "1", *where]) != 0
    assert "there is no dead letter 1" in capsys.readouterr().err


def test_a_damaged_letter_of_a_run_that_is_done_names_no_command_that_would_be_refused(machine: Machine) -> None:
    """Its run cannot be ended any more: nothing depends on the letter."""
    from perdure.store import dead_letters

    @workflow
    def flow() -> None:
        wrong.map([1])

    flow()
    damage(machine, "UPDATE dead_letter SET redriven = redriven + 1")
    with pytest.raises(PerdureError) as refused:
        dead_letters.get(machine.engine.store, 1)
    assert "cancel" not in refused.value.hint
    assert "nothing else depends on that letter" in refused.value.hint
