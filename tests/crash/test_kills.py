"""SIGKILL at any moment: what the workflow has seen is never done again, changed or lost."""

from __future__ import annotations

import pytest

from .cases import Ground
from .kill import MUTATING, no_strace
from .shape import QUICK, SHAPES
from .trial import Outcome

KILLS_A_SHAPE = 2


@pytest.mark.parametrize("name", QUICK)
def test_killed_at_random_moments_a_run_ends_as_if_undisturbed(ground: Ground, name: str) -> None:
    """Chains of one to five kills: no step again that was seen; those in flight again under the same key."""
    total = Outcome()
    trial = 0
    while total.kills.total() < KILLS_A_SHAPE or not total.resumed:
        total.add(ground.case(SHAPES[name], f"random:{trial}"))
        trial += 1
        assert trial < 10 * KILLS_A_SHAPE, "the kills come too late to hit anything, or before anything is saved"
    assert not total.violations, total.report()


@pytest.mark.skipif(bool(no_strace()), reason=no_strace() or "strace works")
@pytest.mark.parametrize("name", QUICK)
def test_killed_at_mutating_system_calls_a_run_ends_as_if_undisturbed(ground: Ground, name: str) -> None:
    """The gaps between two changes of the disk are where a journal shows its order; the long run takes all of them."""
    # Each shape takes another call, so that together they cover creation, commit, checkpoint and close.
    number, place = list(SHAPES).index(name) % 2, list(SHAPES).index(name) // 2
    call, at = ("pwrite64", 5 + place % 4) if number else ("fdatasync", 1 + place % 6)
    total = ground.case(SHAPES[name], f"{call}@{at}:{number}")
    assert not total.violations, total.report()
    assert total.kills.total() > 0


@pytest.mark.skipif(bool(no_strace()), reason=no_strace() or "strace works")
def test_killed_at_every_other_mutating_call_of_one_run(ground: Ground) -> None:
    """The calls that are made a few times in a run (make, link, lock, truncate, remove): the first and some others. The
    long run takes all of them."""
    total = Outcome()
    for call in MUTATING:
        if call in ("pwrite64", "fdatasync"):
            continue
        for at in (1, 3, 9):
            outcome = ground.case(SHAPES["brief"], f"{call}@{at}:0")
            total.add(outcome)
            if not outcome.kills:
                break
    assert not total.violations, total.report()
    assert total.kills["call"] > 0
