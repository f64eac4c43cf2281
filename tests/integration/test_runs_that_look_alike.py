"""Which call goes on with which run: by arguments, or by an id; a finished run is finished."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from three_steps import three_steps

from conftest import Machine, Trouble
from perdure import workflow
from perdure.errors import OptionError, OtherInputs


def test_a_finished_run_is_finished(machine: Machine) -> None:
    """The same call again is a new run."""
    nightly = three_steps(machine, [])
    assert nightly("monday") == nightly("monday")
    assert machine.ran == ["first", "second", "third"] * 2
    assert machine.runs() == [("nightly", "done")] * 2


def test_other_arguments_are_another_run(machine: Machine) -> None:
    """An unfinished run is resumed by its own arguments only; keywords and defaults do not make them other ones."""
    trouble: list[BaseException] = [Trouble()]
    nightly = three_steps(machine, trouble)
    for day in ("monday", "tuesday"):
        with pytest.raises(Trouble):
            nightly(day)
    trouble.clear()
    machine.ran.clear()
    nightly(count=1, day="monday")
    assert machine.ran == ["second", "third"]
    assert machine.runs() == [("nightly", "done"), ("nightly", "failed")]


def test_an_id_is_one_run_for_ever(machine: Machine) -> None:
    """Under an id there is one run: its result is returned without executing anything, in a later process too."""
    nightly = three_steps(machine, [])
    named = nightly.with_options(id="nightly-1")
    result = named("monday")
    machine.boot()
    assert named("monday") == result
    assert machine.ran == ["first", "second", "third"]


def test_an_id_with_other_inputs_is_refused(machine: Machine) -> None:
    """The error shows both inputs."""
    named = three_steps(machine, []).with_options(id="nightly-1")
    named("monday")
    with pytest.raises(OtherInputs, match=r"recorded: nightly\('monday'\)\s+now:\s+nightly\('tuesday'\)"):
        named("tuesday")


@pytest.mark.parametrize("ended", [True, False])
def test_an_id_of_another_workflow_is_refused(machine: Machine, ended: bool) -> None:
    """Done or not: no result of another workflow is given out, and its run is not gone on with."""
    trouble: list[BaseException] = [] if ended else [Trouble()]
    named = three_steps(machine, trouble).with_options(id="nightly-1")
    with suppress(Trouble):
        named("monday")
    machine.ran.clear()

    @workflow
    def weekly(day: str) -> str:
        machine.ran.append("weekly")
        return day

    @workflow
    def caller() -> str:
        return weekly.with_options(id="nightly-1")("monday")

    for call in (lambda: weekly.with_options(id="nightly-1")("monday"), caller):
        with pytest.raises(OtherInputs, match="is one of workflow 'nightly', and its id is given to one of 'weekly'"):
            call()
    assert machine.ran == []


def test_a_named_run_is_not_resumed_without_its_name(machine: Machine) -> None:
    """The same arguments without the id are a run of their own."""
    trouble: list[BaseException] = [Trouble()]
    nightly = three_steps(machine, trouble)
    with pytest.raises(Trouble):
        nightly.with_options(id="mine")("monday")
    trouble.clear()
    nightly("monday")
    assert machine.runs() == [("nightly", "failed"), ("nightly", "done")]


@pytest.mark.parametrize("id", ["", "two\nlines", None, 7])
def test_ids_are_checked(machine: Machine, id: Any) -> None:
    """An id that cannot be typed is refused at once."""
    with pytest.raises(OptionError):
        three_steps(machine, []).with_options(id=id)
