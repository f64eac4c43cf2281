"""R16: files that were damaged or edited from outside."""

from __future__ import annotations

from tests.proof.form import Figures, Proof
from tests.proof.mutation import trial


def run(part: int, seed: int, cases: int) -> Figures:
    """A part: so many mutations of one project."""
    with trial.bench() as bench:
        return bench.run(f"{seed} {part}", cases)


def control(seed: int) -> Figures:
    """The same when every row matches its checksum, whatever it says."""
    with trial.bench(blind=True) as bench:
        return bench.run(f"{seed} control", 400)


PROOF = Proof(
    name="R16",
    claim="a mutated file (state, services, flight recorder, spool, artifacts, logs, settings): a named error or the "
    "right answer, no hang, no import, memory bounded",
    unit="mutations",
    size=10_000_000,
    part=5_000,
    run=run,
    control=control,
    controlled="checksums that always match",
    short="tests/integration/test_mutated_state_files.py",
)
