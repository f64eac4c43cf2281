"""W10: a worker is told to end while a hundred runs sleep and ten execute a step."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

from tests.proof.form import Figures, Proof
from tests.proof.serving import NOTE, PATIENCE, Place, Unserved, children, while_moving
from tests.waiting import pause

SLEEPERS, BUSY = 100, 10
LATEST = 2.0
"""Seconds after the last step has ended."""

SCRIPT = (
    """
import asyncio, os, time
import perdure
from perdure import aio, step, workflow
"""
    + NOTE
    + """
@step
def before(run: str) -> None:
    note("before", run)
@step
def after(run: str) -> None:
    note("after", run)
@step
def busy(run: str) -> None:
    note("begins", run)
    while not os.path.exists(f"open-{run}"):
        time.sleep(0.01)
    note("ends", run, time.monotonic())
@step
async def abusy(run: str) -> None:
    note("begins", run)
    while not os.path.exists(f"open-{run}"):
        await asyncio.sleep(0.01)
    note("ends", run, time.monotonic())
@workflow
def sleeps(run: str) -> None:
    before(run)
    perdure.sleep("2s")
    after(run)
@workflow
def waits(run: str) -> None:
    before(run)
    perdure.wait_for("go")
    after(run)
@workflow
def works(run: str) -> None:
    busy(run)
    after(run)
@workflow
async def aworks(run: str) -> None:
    await abusy(run)
    after(run)
"""
)

SEND = f"""
for n in range({SLEEPERS}):
    flow = (app.sleeps, app.waits)[n % 2]
    flow.with_options(id=f's{{n}}').enqueue(f's{{n}}')
for n in range({BUSY}):
    flow = (app.works, app.aworks)[n % 2]
    flow.with_options(id=f'b{{n}}').enqueue(f'b{{n}}')
"""


def run(part: int, seed: int, cases: int, *, killed: bool = False) -> Figures:
    """So many workers that are told to end; `killed`: that are killed instead."""
    found = Figures(measured={"ended after": []})
    rng = random.Random(f"{seed}/{part}")
    while found.cases < cases:
        found.cases += 1
        label = f"case {found.cases} of part {part}, seed {seed}"
        with Place(SCRIPT, PERDURE_SUSPEND_AFTER="0.2s") as place:
            found.failures += [f"{each}: {label}" for each in _left(place, rng, found, killed=killed)]
    return found


def _left(place: Place, rng: random.Random, found: Figures, *, killed: bool) -> list[str]:
    place.python(SEND)
    worker = place.worker("--slots", "20", "--grace", "120s")
    begun = while_moving(
        lambda: _count(place)["before"] >= SLEEPERS and _count(place)["begins"] >= BUSY, lambda: _count(place).total()
    )
    wrong = [] if begun else ["not all runs have begun"]
    pids = [worker.pid, *children(worker.pid)]
    if killed:
        for pid in pids[1:]:  # an executor in a group of its own gives its runs back when the supervisor is gone
            os.kill(pid, signal.SIGKILL)
        place.kill(worker)
    else:
        worker.send_signal(rng.choice((signal.SIGTERM, signal.SIGINT)))
    order = [f"b{n}" for n in range(BUSY)]
    rng.shuffle(order)
    for run in order:
        time.sleep(rng.uniform(0.0, 0.05))
        unserved = Unserved([pids])
        (place.folder / f"open-{run}").touch()
    if not killed:
        wrong += _ended(place, worker, unserved, found)
    place.python(f"for n in range(1, {SLEEPERS}, 2): perdure.signal(f's{{n}}', 'go')")
    place.worker("--slots", "20")
    if not while_moving(lambda: _count(place)["after"] >= SLEEPERS + BUSY, lambda: _count(place).total()):
        wrong.append(f"{SLEEPERS + BUSY - _count(place)['after']} runs do not go on elsewhere")
    did = Counter((line[0], line[1]) for line in place.lines("ledger"))
    wrong += [f"{what} of {run}: {times} times" for (what, run), times in did.items() if times > 1]
    listed = subprocess.run(
        [sys.executable, "-m", "perdure", "ps", "--json", "--limit", "0"],
        cwd=place.folder,
        env=place.env,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        wrong.append(f"ps: {listed.stderr[-200:]}")
    else:
        wrong += [f"{each['status']}: {each}" for each in json.loads(listed.stdout)["runs"] if each["status"] in BAD]
    if b"Traceback" in place.said.read_bytes():
        wrong.append("a traceback")
    return wrong


BAD = {"failed", "crashed", "cancelled"}


def _ended(place: Place, worker: subprocess.Popen[bytes], unserved: Unserved, found: Figures) -> list[str]:
    """When it has ended, after the last step and beside what its threads waited for a processor."""
    ready = 0.0
    while worker.poll() is None:
        ready = unserved.seconds()
        if time.monotonic() - _last(place) > PATIENCE:
            return ["the worker does not end"]
        pause()
    took = time.monotonic() - _last(place)
    found.measured["ended after"].append(took)
    wrong = [f"the worker has ended with {worker.poll()}"] if worker.poll() else []
    return wrong + ([f"ended {took:.2f} s after the last step"] if took > LATEST + ready else [])


def _last(place: Place) -> float:
    return max((float(line[2]) for line in place.lines("ledger") if line[0] == "ends"), default=time.monotonic())


def _count(place: Place) -> Counter[str]:
    return Counter(line[0] for line in place.lines("ledger"))


def control(seed: int) -> Figures:
    """The worker is killed: its steps are executed again."""
    return run(0, seed, 1, killed=True)


def says(found: Figures) -> str:
    p50, most = (found.percentile("ended after", share) for share in (0.5, 1.0))
    return f"ended after the last step p50 {p50:.2f} s, p100 {most:.2f} s"


PROOF = Proof(
    name="W10",
    claim="a worker is told to end while 100 runs sleep or wait and 10 execute a step: it ends within 2 s of the last"
    " step, beside waits for a processor, no step is executed twice, and all runs go on with the next worker",
    unit="workers",
    size=100,
    part=5,
    run=run,
    control=control,
    controlled="the worker is killed instead",
    short="tests/integration/test_workers.py",
    says=says,
)
