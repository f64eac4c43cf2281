"""R10: simulations of the core, each from a number."""

from __future__ import annotations

from collections import Counter
from unittest.mock import patch

from tests.proof import simulation
from tests.proof.form import Figures, Proof

TRIED = 300
"""Simulations in which each broken rule has to be found."""


def run(part: int, seed: int, cases: int) -> Figures:
    """A part: so many simulations."""
    kinds, schedules, failures = simulation.campaign(f"{seed} {part}", cases)
    return Figures(cases, kinds, failures=failures, seen={"schedules": schedules})


def control(seed: int) -> Figures:
    """Each broken rule; nothing is found unless all of them are."""
    found = Figures()
    for name, (holder, attribute, broken) in simulation.BROKEN.items():
        with patch.object(holder, attribute, broken):
            _, _, failures = simulation.campaign(f"{seed} {name}", TRIED)
        found.cases += TRIED
        found.counts[name] = len(failures)
        found.failures += failures
    if missed := [name for name in simulation.BROKEN if not found.counts[name]]:
        return Figures(found.cases, Counter({f"not found: {name}": 1 for name in missed}))
    return found


def says(figures: Figures) -> str:
    """How many schedules were different, and of which kinds the simulations were."""
    kinds = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in sorted(figures.counts.items()))
    return f"{len(figures.seen.get('schedules', ())):,} different schedules; {kinds}"


PROOF = Proof(
    name="R10",
    claim="any workflow, killed at any effect, any number of times, with its branches in any order, repaired or "
    "edited: the outcome of the run that nothing interrupts, nothing completed executed again, and the same once more "
    "from the same number",
    unit="simulations",
    size=1_000_000,
    part=2_000,
    run=run,
    control=control,
    controlled="five rules of the core, one after the other",
    short="tests/unit/test_core_properties.py",
    says=says,
)
