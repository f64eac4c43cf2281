"""R22: mutants of our own sources, and the tests that execute what is changed."""

from __future__ import annotations

from collections import Counter

from tests.proof import measured, mutant_trials
from tests.proof.form import Figures, Proof

SURVIVED = ("survived", "not reached")


def run(part: int, seed: int, cases: int) -> Figures:
    """A part: the next mutants of the order that follows from the seed. A line for each that nothing noticed."""
    if not any(measured.KEPT.glob("*.json")):
        raise RuntimeError("which tests execute what is not known yet: python3 dev.py proof R22b")
    found = Figures()
    for how, about, _ in mutant_trials.in_a_fresh_process(seed, part * cases, (part + 1) * cases):
        found.cases += 1
        found.counts[how] += 1
        if how in SURVIVED:
            found.seen.setdefault("survivors", set()).add(about)
            print(f"{how}: {about}", flush=True)
    return found


def control(seed: int) -> Figures:
    """Changes that change nothing: none may be noticed, or every mutant would count as noticed."""
    found = Figures(CONTROLS)
    for how, about, test in mutant_trials.in_a_fresh_process(seed, 0, CONTROLS, "--unchanged"):
        if how in SURVIVED:
            found.failures.append(f"{about}: nothing is noticed where nothing is changed")
        else:
            found.counts[f"noticed by {test}"] += 1
    return Figures(found.cases, found.counts) if found.counts else found


CONTROLS = 10
"""Mutants whose tests run without them."""


def says(figures: Figures) -> str:
    """How many were noticed."""
    left = _left(figures.counts)
    return f"{1 - left / max(1, figures.cases):.1%} noticed, {left:,} not"


def _left(counts: Counter[str]) -> int:
    return sum(counts[how] for how in SURVIVED)


def judge(figures: Figures) -> list[str]:
    """Nine of ten have to be noticed."""
    return [says(figures)] if _left(figures.counts) > figures.cases / 10 and not figures.failures else []


PROOF = Proof(
    name="R22",
    claim="one operator, constant, branch or call of the core, the store, locks or retry changed: the tests that "
    "execute it notice at least nine of ten",
    unit="mutants",
    size=1_000,
    part=25,
    run=run,
    control=control,
    controlled="the change is not made: nothing may be noticed",
    short="",
    says=says,
    judge=judge,
)
