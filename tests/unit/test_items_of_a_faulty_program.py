"""Which items of a map are tried while all have failed by a fault of the program, and how those that ended count."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ruled import a_spec

from conftest import Machine
from perdure import step, workflow
from perdure.core.execution.map_faults import ENOUGH, ProgramFaults
from perdure.core.execution.map_items import Job, Tally
from perdure.core.execution.spec import Call


def test_how_the_items_of_a_map_have_ended() -> None:
    """In the order of the input, in whatever order they end; numbers that are all wanted are not copied."""
    tally = Tally()
    assert (tally.last(), list(tally.results()), tally.letters()) == (0, [], [])
    for index, seq in ((1, 3), (0, 4), (2, 9)):
        tally.ended(index, seq, dead=False, replayed=index == 1)
    assert list(tally.results()) == [4, 3, 9]
    assert tally.results() is tally.results()
    tally.ended(4, 11, dead=True, replayed=False)
    tally.ended(5, 3_000_000_000, dead=False, replayed=True)
    assert list(tally.results()) == [4, 3, 9, 3_000_000_000]
    assert (tally.letters(), tally.last()) == ([11], 3_000_000_000)
    assert (tally.done, tally.dead, tally.skipped) == (4, 1, 2)


def failed_items(tally: Tally, total: int | None, many: int) -> ProgramFaults:
    faults = ProgramFaults(tally, total)
    for index in range(many):
        assert faults.admits(job_of(index), tried=False, quiet=index == 0)
        faults.aside.append((job_of(index), failed_by("likely")))
    return faults


def job_of(index: int) -> Job:
    return Job(index, Call(a_spec(), (index,), {}, b"", b"k"), None)


def failed_by(program: str) -> Any:
    return SimpleNamespace(program=program)


def test_a_program_that_fails_each_item_is_tried_on_a_sample() -> None:
    """Ten items one after the other, then one of each tenth of the rest, the last of each, while nothing else runs."""
    faults = failed_items(Tally(), 110, ENOUGH)
    assert faults.suspected
    tried = [index for index in range(10, 110) if faults.admits(job_of(index), tried=False, quiet=True)]
    assert tried == list(range(19, 110, 10))
    assert len(faults.held) == 90
    assert not faults.exhausted
    assert (faults.keeps(job_of(19)), faults.keeps(job_of(20))) == (False, True)
    assert faults.verdict() == faults.first() == faults.aside[0]


def test_what_is_not_tried_while_a_program_is_suspected() -> None:
    """What is beside others, what an earlier life has tried, and all of an input without a known end."""
    faults = failed_items(Tally(), 12, ENOUGH)
    assert not faults.admits(job_of(10), tried=False, quiet=False)
    assert not faults.admits(job_of(10), tried=True, quiet=True)
    assert faults.admits(job_of(10), tried=False, quiet=True), "each is one, where fewer than a sample are left"
    unknown = failed_items(Tally(), None, ENOUGH)
    assert not unknown.admits(job_of(10), tried=False, quiet=True)
    assert unknown.exhausted
    few = failed_items(Tally(), 12, ENOUGH - 1)
    assert not few.suspected
    assert not few.exhausted
    assert not few.keeps(job_of(9))
    assert not few.admits(job_of(9), tried=True, quiet=True)
    assert few.admits(job_of(9), tried=False, quiet=False)


def test_a_success_shows_that_the_program_works() -> None:
    """What has failed are dead letters then, but for a fault that is the program's in any case."""
    tally = Tally()
    faults = failed_items(tally, 12, ENOUGH)
    tally.ended(10, 1, dead=False, replayed=False)
    assert not faults.suspected
    assert faults.verdict() is None
    faults.aside.insert(0, (job_of(30), failed_by("certain")))
    faults.aside.insert(0, (job_of(40), failed_by("certain")))
    found = faults.verdict()
    assert found is not None
    assert found[0].index == 30
    assert [job.index for job, _ in faults.to_park()] == [*range(10), 30, 40]


def test_one_item_beside_a_letter_says_nothing_of_the_program() -> None:
    """Alone it does."""
    tally = Tally()
    faults = failed_items(tally, 12, 1)
    assert faults.verdict() == faults.aside[0]
    tally.ended(3, 1, dead=True, replayed=False)
    assert faults.verdict() is None
    assert ProgramFaults(Tally(), 3).verdict() is None


def test_an_attempt_that_shows_a_fault_of_the_program_is_kept(machine: Machine) -> None:
    """The run fails with it; that the item was tried, and how it failed, is saved all the same."""

    @step(name="mistaken", retry=None)
    def mistaken(n: int) -> int:
        return n.no_such_name  # type: ignore[attr-defined, no-any-return]

    @workflow(name="mistaken_items")
    def mistaken_items() -> None:
        mistaken.map([1, 2, 3])

    with pytest.raises(AttributeError):
        mistaken_items()
    store = machine.engine.store
    (run,) = store.runs()
    assert run.status == "failed"
    tried = store.attempt_records(run.rid)
    assert [(one.name, one.number) for one in tried] == [("mistaken", 1)] * len(tried)
    assert tried
