"""What a proof is, and what it finds."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

MOST_LINES = 50
"""So many failures of a part are written down; all are counted."""


@dataclass
class Figures:
    """What one part found, or several together.

    Args:
        cases: how many cases were done.
        counts: what else is added up, by name.
        measured: numbers of which percentiles are wanted, by name.
        failures: a line for each broken promise.
        seen: names of which only the different ones count, by what they are names of.
    """

    cases: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    measured: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    seen: dict[str, set[str]] = field(default_factory=dict)

    def add(self, other: Figures) -> None:
        """Count another part in."""
        self.cases += other.cases
        self.counts += other.counts
        self.failures += other.failures
        for name, numbers in other.measured.items():
            self.measured.setdefault(name, []).extend(numbers)
        for name, names in other.seen.items():
            self.seen.setdefault(name, set()).update(names)

    def percentile(self, name: str, share: float) -> float:
        """The value that this share (0 to 1) of the numbers does not exceed."""
        numbers = sorted(self.measured[name])
        return numbers[min(len(numbers) - 1, int(share * len(numbers)))]

    def written(self) -> dict[str, Any]:
        """As JSON can hold it."""
        failures = self.failures[:MOST_LINES]
        if more := len(self.failures) - len(failures):
            failures.append(f"and {more} more")
        return {
            "cases": self.cases,
            "counts": dict(self.counts),
            "measured": self.measured,
            "failures": failures,
            "seen": {name: sorted(names) for name, names in self.seen.items()},
        }

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """From what `written` gave."""
        seen = {name: set(names) for name, names in data["seen"].items()}
        return cls(data["cases"], Counter(data["counts"]), data["measured"], data["failures"], seen)


def number_of(lines: list[str]) -> int:
    """How many failures these lines stand for; the last one of a part may stand for several."""
    return sum(int(more[1]) if (more := re.fullmatch(r"and (\d+) more", line)) else 1 for line in lines)


def counted(figures: Figures) -> str:
    """The counts, in one line."""
    return ", ".join(f"{number:,} {name}" for name, number in sorted(figures.counts.items()))


def each_of(found: Figures, *marks: str) -> Figures:
    """What a control has found, if each of these stands in a line of it. If not, it has found nothing: a test that
    misses one of the things that are claimed proves no part of the claim."""
    if missed := [mark for mark in marks if not any(mark in line for line in found.failures)]:
        return Figures(found.cases, Counter({f"not found: {mark}": 1 for mark in missed}))
    return found


def nothing_more(figures: Figures) -> list[str]:
    return []


@dataclass(frozen=True)
class Proof:
    """One figure of docs/reliability.md; what each field is for is said in this package's docstring."""

    name: str
    claim: str
    unit: str
    size: int
    part: int
    run: Callable[[int, int, int], Figures]
    control: Callable[[int], Figures]
    controlled: str
    short: str
    says: Callable[[Figures], str] = counted
    judge: Callable[[Figures], list[str]] = nothing_more
    alone: bool = False
    parts: int | None = None

    def broken(self, figures: Figures) -> list[str]:
        """Every broken promise, of single cases and of all together."""
        return [*figures.failures, *(self.judge(figures) if figures.cases else [])]


def all_proofs() -> dict[str, Proof]:
    """Every proof of figures/, by its name, in the order of their numbers."""
    folder = importlib.import_module(".figures", __package__)
    modules = [
        importlib.import_module(f"{folder.__name__}.{each.name}") for each in pkgutil.iter_modules(folder.__path__)
    ]
    proofs = [module.PROOF for module in modules if hasattr(module, "PROOF")]
    return {proof.name: proof for proof in sorted(proofs, key=_order)}


def _order(proof: Proof) -> tuple[str, int, str]:
    """Those of one machine (R), then those of a cluster (T)."""
    number = re.search(r"\d+", proof.name)
    return proof.name[0], int(number[0]) if number else 1_000, proof.name
