"""R9b: the holder of a lock is killed while another process waits for it."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.proof.form import Figures, Proof, each_of

SCRIPT = Path(__file__).parents[1] / "takeover.py"
SOURCE = Path(__file__).parents[3] / "src"
SECONDS = 1.0
"""Within which 99 of 100 take over."""


def run(part: int, seed: int, cases: int, *, killed: bool = True, **env: str) -> Figures:
    """One holder after the other is killed, each while the next one waits."""
    found = Figures(measured={"seconds": []})
    rng = random.Random(f"{seed}/{part}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perdure-proof-")))
        holder = _started(folder, stack, env)
        _said(holder)
        while found.cases < cases:
            waiting = _started(folder, stack, env)
            found.cases += 1
            label = f"case {found.cases} of part {part}, seed {seed}"
            if _ready(waiting, rng.uniform(0.0, 0.3)):
                found.failures.append(f"two holders: {label}")
            since = time.monotonic()
            if killed:
                holder.send_signal(signal.SIGKILL)
            if not _ready(waiting, 10.0):
                found.failures.append(f"the lock stays with the dead: {label}")
                break
            found.measured["seconds"].append(float(_said(waiting)) - since)
            holder = waiting
    return found


def _started(folder: Path, stack: ExitStack, more: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process that wants the lock; gone afterwards."""
    env = {"PYTHONPATH": str(SOURCE), "PERDURE_STATE": str(folder / "state.db"), "PERDURE_ALERTS": ""}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, **env, **more},
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    if _said(process) != "wants":
        raise AssertionError("a process that wants the lock has ended")
    return process


def _said(process: subprocess.Popen[bytes]) -> str:
    return process.stdout.readline().decode().strip() if process.stdout else ""


def _ready(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it says something within that time."""
    return bool(select.select([process.stdout], [], [], seconds)[0])


def control(seed: int) -> Figures:
    """The holder is left alive: then nobody takes over. And locks are granted to whoever asks: then two hold one."""
    found = run(0, seed, 1, killed=False)
    found.add(run(0, seed, 3, UNLOCKED="1"))
    return each_of(found, "the lock stays with the dead", "two holders")


def judge(found: Figures) -> list[str]:
    if found.failures or found.percentile("seconds", 0.99) < SECONDS:
        return []
    return [f"99 of 100 took over within {found.percentile('seconds', 0.99):.2f} s, not within {SECONDS} s"]


def says(found: Figures) -> str:
    p50, p99, most = (found.percentile("seconds", share) for share in (0.5, 0.99, 1.0))
    return f"p50 {p50:.3f} s, p99 {p99:.3f} s, p100 {most:.3f} s"


PROOF = Proof(
    name="R9b",
    claim="the holder of a lock is killed: who waits has it within a second, and not before",
    unit="takeovers",
    size=1_000,
    part=50,
    run=run,
    control=control,
    controlled="the holder is not killed; locks granted to whoever asks",
    short="tests/integration/test_locks_after_death.py",
    says=says,
    judge=judge,
    alone=True,
)
