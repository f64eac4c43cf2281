"""R16: files that were damaged or edited from outside."""

from __future__ import annotations

from tests.proof.form import Figures, Proof, each_of
from tests.proof.mutation import trial

CHECKED = ("state file, a column", "state file, bytes", "artifact")
"""The kinds of mutations that a checksum finds: without it, wrong answers of each have to be seen."""
GONE_ON = "gone on with: "
NOT_FOUND = "rows that are not found any more, named by doctor"


def run(part: int, seed: int, cases: int) -> Figures:
    """A part: so many mutations of one project."""
    with trial.bench() as bench:
        return bench.run(f"{seed} {part}", cases)


def control(seed: int) -> Figures:
    """The same when everything matches its checksum, whatever it says; nothing is found unless each kind is."""
    with trial.bench(blind=True) as bench:
        return each_of(bench.run(f"{seed} control", 400), *(f": {kind}: " for kind in CHECKED))


def says(found: Figures) -> str:
    """What the looks came to."""
    counts = found.counts
    gone_on = ", ".join(
        f"{number:,} {name.removeprefix(GONE_ON)}"
        for name, number in sorted(counts.items())
        if name.startswith(GONE_ON)
    )
    state = sum(number for name, number in counts.items() if name.startswith("state file, "))
    return (
        f"{state:,} of state files; {counts['whole']:,} looked at in every way, the others by what all ways read with;"
        f" looks: {counts['right']:,} right, {counts['named']:,} named errors, {counts['differs']:,} without what was"
        f" damaged (files that no result depends on; {counts[NOT_FOUND]:,} mutated state files, named by doctor);"
        f" the script run again: {gone_on}"
    )


PROOF = Proof(
    name="R16",
    claim="a mutated file (state, services, flight recorder, spool, artifacts, logs, settings): a named error or the "
    "right answer, no hang, no import, memory bounded",
    unit="mutations",
    size=10_000_000,
    part=20_000,
    run=run,
    control=control,
    controlled="checksums that always match",
    short="tests/integration/test_mutated_state_files.py",
    says=says,
)
