"""R22b: which branches of the core and of the store the tests take that run in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.proof.form import Figures, Proof

ROOT = Path(__file__).parents[3]
AREAS = ("core/execution", "core/policies", "core/exceptions", "core/redaction", "core/values", "core", "store")
"""The first that fits counts."""
WANTED = 0.95
UNIT = ("tests/unit",)


def run(part: int, seed: int, cases: int) -> Figures:
    """The unit tests, once."""
    return measured(UNIT)


def measured(tests: Sequence[str]) -> Figures:
    """How many branches there are, and how many of them these tests take, by area."""
    if find_spec("coverage") is None:
        raise RuntimeError("coverage is not installed: .venv/bin/python -m pip install coverage")
    found = Figures()
    with tempfile.TemporaryDirectory(prefix="perdure-proof-") as name:
        folder = Path(name)
        source = ",".join(str(ROOT / "src" / "perdure" / each) for each in ("core", "store"))
        (folder / "settings").write_text(f"[run]\nbranch = True\nsource = {source}\n", encoding="utf-8")
        env = {**os.environ, "COVERAGE_RCFILE": str(folder / "settings"), "COVERAGE_FILE": str(folder / "data")}
        command = [sys.executable, "-m", "coverage"]
        arguments = ["run", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        done = subprocess.run([*command, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        found.counts["failed"] = int(done.returncode != 0)
        report = folder / "report.json"
        subprocess.run([*command, "json", "-q", "-o", str(report)], cwd=ROOT, env=env, check=True)
        for file, said in json.loads(report.read_text(encoding="utf-8"))["files"].items():
            inner = file.partition("perdure/")[2]
            area = next(area for area in AREAS if inner.startswith(f"{area}/"))
            found.cases += said["summary"]["num_branches"]
            found.counts += Counter(
                {area: said["summary"]["num_branches"], f"{area} taken": said["summary"]["covered_branches"]}
            )
    return found


def control(seed: int) -> Figures:
    """The same with next to no tests."""
    found = measured(("tests/unit/test_durations.py",))
    found.failures = judge(found)
    return found


def _shares(found: Figures) -> dict[str, float]:
    return {area: found.counts[f"{area} taken"] / found.counts[area] for area in AREAS if found.counts[area]}


def judge(found: Figures) -> list[str]:
    """All areas together have to be taken."""
    taken = sum(found.counts[f"{area} taken"] for area in AREAS)
    return [] if taken >= WANTED * found.cases or found.failures else [f"{taken / found.cases:.1%} of the branches"]


def says(found: Figures) -> str:
    """The share of each area."""
    shares = ", ".join(f"{area} {share:.1%}" for area, share in _shares(found).items())
    return f"{sum(found.counts[f'{area} taken'] for area in AREAS) / max(1, found.cases):.1%} taken: {shares}"


PROOF = Proof(
    name="R22b",
    claim="the unit tests alone, which run in one process, take 95 % of the branches of core and store",
    unit="branches",
    size=4_000,
    part=4_000,
    run=run,
    control=control,
    controlled="one small test file",
    short="",
    says=says,
    judge=judge,
    alone=True,
)
