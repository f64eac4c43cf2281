"""R9: several processes want one lock again and again, and are killed inside and outside of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.crash.locks import CONTENDERS, Result, contend
from tests.proof.form import Figures, Proof


def run(part: int, seed: int, cases: int) -> Figures:
    """So many acquisitions of one lock: as a block, as an async block and as the lock of a run."""
    with tempfile.TemporaryDirectory(prefix="perdure-proof-") as folder:
        return figures_of(contend(Path(folder), cases, seed + part), f"part {part}, seed {seed}")


def figures_of(result: Result, label: str) -> Figures:
    found = Figures(result.acquired.total(), failures=[f"{label}: {wrong}" for wrong in result.wrong])
    found.counts.update({"killed": result.killed, "killed inside": result.killed_inside})
    return found


def control(seed: int) -> Figures:
    """The same with locks that are granted to whoever asks."""
    with tempfile.TemporaryDirectory(prefix="perdure-proof-") as folder:
        return figures_of(contend(Path(folder), 120, seed, unlocked=True), "control")


def says(found: Figures) -> str:
    killed, inside = found.counts["killed"], found.counts["killed inside"]
    return f"{CONTENDERS} processes at a time, {killed:,} of them killed, {inside:,} while they held the lock"


PROOF = Proof(
    name="R9",
    claim="a contended lock with kills: never two holders, its fence always grows, and nobody waits in vain",
    unit="acquisitions",
    size=10_000,
    part=250,
    run=run,
    control=control,
    controlled="locks granted to whoever asks",
    short="tests/crash/test_lock_contention.py",
    says=says,
    alone=True,
)
