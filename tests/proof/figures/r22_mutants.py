"""R22: mutants of our own sources, the tests that execute what is changed, and the type checker."""

from __future__ import annotations

import math
from collections import Counter

from tests.proof import mutant_trials
from tests.proof.form import Figures, Proof


def run(part: int, seed: int, cases: int) -> Figures:
    """A part: the next mutants of the order that follows from the seed. A line for each that nothing noticed."""
    found = Figures()
    for how, about, _ in mutant_trials.in_a_fresh_process(seed, part * cases, (part + 1) * cases):
        found.cases += 1
        found.counts[how] += 1
        if how in mutant_trials.UNNOTICED:
            found.seen.setdefault("survivors", set()).add(about)
            print(f"{how}: {about}", flush=True)
    return found


def control(seed: int) -> Figures:
    """Changes that change nothing: none may be noticed, or every mutant would count as noticed."""
    found = Figures(CONTROLS)
    for how, about, test in mutant_trials.in_a_fresh_process(seed, 0, CONTROLS, "--unchanged"):
        if how in mutant_trials.UNNOTICED:
            found.failures.append(f"{about}: nothing is noticed where nothing is changed")
        else:
            found.counts[f"noticed by {test}"] += 1
    return Figures(found.cases, found.counts) if found.counts else found


CONTROLS = 10
"""Mutants whose tests run without them."""


def says(figures: Figures) -> str:
    """How many were noticed, and by what."""
    left, by_types = _left(figures.counts), figures.counts["types"]
    share, by_tests = (1 - each / max(1, figures.cases) for each in (left, left + by_types))
    low, high = interval(figures.cases - left, figures.cases)
    return f"{share:.1%} noticed ({by_tests:.1%} by tests), {left:,} not; of all mutants {low:.0%} to {high:.0%}"


def interval(found: int, tried: int) -> tuple[float, float]:
    """Between which shares the share of all lies, with a probability of 95 % (Wilson)."""
    if not tried:
        return 0.0, 1.0
    z, share = 1.96, found / tried
    middle = share + z * z / (2 * tried)
    half = z * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried))
    return (middle - half) / (1 + z * z / tried), (middle + half) / (1 + z * z / tried)


def _left(counts: Counter[str]) -> int:
    return sum(counts[how] for how in mutant_trials.UNNOTICED)


def judge(figures: Figures) -> list[str]:
    """Nine of ten have to be noticed."""
    return [says(figures)] if _left(figures.counts) > figures.cases / 10 and not figures.failures else []


PROOF = Proof(
    name="R22",
    claim="one operator, constant, branch or call of the core, the store, locks or retry changed: the tests that "
    "execute it, or else the type checker, notice at least nine of ten",
    unit="mutants",
    size=1_000,
    part=50,
    run=run,
    control=control,
    controlled="the change is not made: nothing may be noticed",
    short="",
    says=says,
    judge=judge,
)
