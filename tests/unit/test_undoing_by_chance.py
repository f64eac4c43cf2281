"""Whatever is done with a run, in whatever order: what is booked stands if a run that is done stands on it, or a letter
names it, or it is said that nobody knows."""

from __future__ import annotations

import pytest
from undoing_world import Trial

from conftest import Machine

TELLING = (126, 3, 14)
"""Seeds; the first finds that what was edited is made again as it was."""
MANY = range(1_000, 1_200)


@pytest.mark.parametrize("seed", [*TELLING, *(pytest.param(each, marks=pytest.mark.long) for each in MANY)])
def test_bookings_are_what_the_state_says(machine: Machine, seed: int) -> None:
    """Random programs, failures, deaths, redrives, edits, drops, forks and cancels."""
    trial = Trial(machine, seed)
    for _ in range(trial.chance.randint(6, 14)):
        trial.act()
    trial.settle()
    assert trial.faults() == [], "\n".join([str(trial.program), *trial.acts])
