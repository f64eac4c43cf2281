"""T3: code of a run on a cluster that takes a minute between two steps."""

from __future__ import annotations

import time
from pathlib import Path

from tests.proof.figures.t1_killed_workers import judged  # isort: skip  it says where modules are
from tests.conformance.bench import Bench, ledger
from tests.conformance.cluster_steps import tick
from tests.conformance.conftest import Server
from tests.proof.form import Figures, Proof

from perdure import workflow

MINUTE = 60.0
ALLOWED = "90s"


@workflow
def pausing(seconds: float, computes: bool) -> list[int]:
    before = tick(1)
    ledger.append(("code",))
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if not computes:
            time.sleep(left)
    return [before, tick(2)]


def run(part: int, seed: int, cases: int, **options: str) -> Figures:
    """Runs one after the other; every other one computes, the others wait for something outside."""
    options = options or {"dead_after": ALLOWED}
    return judged(cases, lambda server, folder: carry_through(server, folder, cases, part, options))


def carry_through(server: Server, folder: Path, cases: int, part: int, options: dict[str, str]) -> str:
    for number in range(part * cases, (part + 1) * cases):
        place = folder / f"run{number}"
        place.mkdir()
        with Bench(server.url(**options), place).in_force() as bench:
            result = bench.run(pausing, MINUTE, number % 2 == 1, id=f"pausing-{number}")
            assert result == [2, 3], repr(result)
            assert [entry[0] for entry in ledger] == [1, "code", 2], f"executed: {ledger}"
    return f"{cases} runs"


def control(seed: int) -> Figures:
    """The same without the option."""
    return run(0, seed, 1, dead_after="10s")


def says(found: Figures) -> str:
    return f"{found.counts['runs']:,} runs with `?dead_after={ALLOWED}`, every other one computing all the time"


PROOF = Proof(
    name="T3",
    claim="code of a minute between two steps of a run on a cluster that allows it: the run ends with its result,"
    " each step is executed once, and the code is not given to another worker",
    unit="runs",
    size=10,
    part=1,
    run=run,
    control=control,
    controlled="no more time than by default",
    short="tests/conformance/test_cluster_refused.py",
    says=says,
    alone=True,
)
