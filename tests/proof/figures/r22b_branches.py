"""R22b: which branches of the core and of the store the tests take."""

from __future__ import annotations

from collections import Counter

from tests.proof import measured
from tests.proof.form import Figures, Proof

AREAS = ("core/execution", "core/policies", "core/exceptions", "core/redaction", "core/values", "core", "store")
"""The first that fits counts."""
WANTED = 0.95
FILES = 40
"""Of a part."""
ALL, UNIT = "taken", "taken by unit tests"


def run(part: int, seed: int, cases: int) -> Figures:
    """The test files of this part. R22 chooses its tests by what they execute, which is kept."""
    files = measured.files()[part * cases : (part + 1) * cases]
    found = Figures(len(files), seen={ALL: set(), UNIT: set()})
    for unit in (True, False):
        if chosen := [file for file in files if file.startswith("tests/unit/") is unit]:
            done = measured.measure(chosen)
            done.keep()
            found.counts["runs of tests with failures"] += int(done.failed)
            found.seen[ALL] |= (taken := _names(done))
            found.seen[UNIT] |= taken if unit else set()
    return found


def _names(done: measured.Measured) -> set[str]:
    return {f"{module} {first} {last}" for module, branches in done.taken.items() for first, last in branches}


def control(seed: int) -> Figures:
    """One test file that speaks of little."""
    done = measured.measure(["tests/unit/test_durations.py"])
    found = Figures(1, seen={ALL: _names(done), UNIT: _names(done)})
    found.failures = judge(found)
    return found


def _by_area(modules: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for module, number in modules.items():
        found[next(area for area in AREAS if module.startswith(f"perdure/{area}/"))] += number
    return found


def _taken(found: Figures, how: str) -> Counter[str]:
    return _by_area(Counter(name.partition(" ")[0] for name in found.seen.get(how, ())))


def judge(found: Figures) -> list[str]:
    """All areas together have to be taken."""
    share = _taken(found, ALL).total() / sum(measured.branches().values())
    return [] if share >= WANTED or found.failures else [f"{share:.1%} of the branches"]


def says(found: Figures) -> str:
    """The share of each area, and what unit tests take of all."""
    there, taken, unit = _by_area(Counter(measured.branches())), _taken(found, ALL), _taken(found, UNIT)
    shares = ", ".join(f"{area} {taken[area] / there[area]:.1%}" for area in AREAS)
    return (
        f"{taken.total() / there.total():.1%} of {there.total():,} branches taken: {shares}; by the unit tests alone "
        f"{unit.total() / there.total():.1%}"
    )


PROOF = Proof(
    name="R22b",
    claim="the tests take 95 % of the branches of core and store, as coverage.py counts them; processes that tests "
    "start are counted, what dies by SIGKILL is not",
    unit="test files",
    size=len(measured.files()),
    part=FILES,
    parts=-(-len(measured.files()) // FILES),
    run=run,
    control=control,
    controlled="one small test file",
    short="",
    says=says,
    judge=judge,
)
