"""R22: mutants of our own sources, and the quick tests."""

from __future__ import annotations

from tests.proof import mutants
from tests.proof.form import Figures, Proof


def run(part: int, seed: int, cases: int) -> Figures:
    """A part: the next mutants of the order that follows from the seed. A line for each that nothing noticed."""
    found = Figures()
    for how, about in mutants.in_a_fresh_process(seed, part * cases, (part + 1) * cases):
        found.cases += 1
        found.counts[how] += 1
        if how == "survived":
            found.seen.setdefault("survivors", set()).add(about)
    return found


def control(seed: int) -> Figures:
    """The sources as they are: the tests notice nothing, or every mutant would count as noticed."""
    ((how, _),) = mutants.in_a_fresh_process(seed, 0, 0)
    failures = ["the sources as they are pass, so what fails is the mutant"] if how == "survived" else []
    return Figures(1, failures=failures)


def says(figures: Figures) -> str:
    """How many were noticed."""
    noticed = figures.cases - figures.counts["survived"]
    return f"{noticed / max(1, figures.cases):.1%} noticed, {figures.counts['survived']:,} not"


def judge(figures: Figures) -> list[str]:
    """Nine of ten have to be noticed."""
    return [says(figures)] if figures.counts["survived"] > figures.cases / 10 and not figures.failures else []


PROOF = Proof(
    name="R22",
    claim="one operator, constant, branch or call of core/policies, core/execution, store changed: the unit tests of "
    "that part notice at least nine of ten",
    unit="mutants",
    size=len(mutants.mutants()),
    part=10,
    run=run,
    control=control,
    controlled="no mutant at all: nothing may be noticed",
    short="",
    says=says,
    judge=judge,
)
