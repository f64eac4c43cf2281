"""Whatever is done with a run, in whatever order: what is booked stands if a run that is done stands on it, or a letter
names it, or it is said that nobody knows."""

from __future__ import annotations

import pytest
from undoing_world import DamagedTrial, Trial

from conftest import Machine

TELLING = (126, 3, 14)
"""Seeds; the first finds that what was edited is made again as it was."""
DAMAGED = (1_000, 1_001)
MANY = range(1_000, 1_200)


@pytest.mark.parametrize("seed", [*TELLING, *(pytest.param(each, marks=pytest.mark.long) for each in MANY)])
def test_bookings_are_what_the_state_says(machine: Machine, seed: int) -> None:
    """Random programs, failures, deaths, redrives, edits, drops, forks and cancels."""
    trial = Trial(machine, seed)
    for _ in range(trial.chance.randint(6, 14)):
        trial.act()
    trial.settle()
    assert trial.faults() == [], "\n".join([str(trial.program), *trial.acts])


@pytest.mark.parametrize("seed", [*DAMAGED, *(pytest.param(each, marks=pytest.mark.long) for each in MANY)])
def test_a_run_with_a_damaged_row_can_be_ended(machine: Machine, seed: int) -> None:
    """Whatever byte of whatever row: each command works, or is refused by an error with the command that works. That
    ends the run, undoes what is intact, and says what it did not; forks and new runs follow on it."""
    trial = DamagedTrial(machine, seed)
    for _ in range(trial.chance.randint(2, 6)):
        trial.act()
    if not trial.damage():
        return
    faults = [*trial.all_that_is_offered(), *trial.end_all_the_same(), *trial.too_many()]
    assert faults == [], "\n".join([str(trial.program), *trial.acts, trial.damaged])
