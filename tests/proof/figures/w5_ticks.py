"""W5: workers that keep schedules are killed and stopped, and their script is edited and broken under them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.proof.form import Figures, Proof
from tests.proof.serving import Place, children, starved, until, while_moving

WORKERS = 3
PERIODS = {"two": 2, "three": 3, "five": 5}
"""Seconds between the ticks of each schedule."""

LONG = 80 * PERIODS["two"]
"""Seconds for which all are stopped once in each tenth part."""

SCRIPT = """
import os
import perdure
from perdure import step, workflow
@step
def note(name: str, due: int, version: int) -> None:
    ledger = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, f"{name} {due} {version}\\n".encode())
    os.close(ledger)
def noted(name):
    tick = perdure.tick()
    note(name, int(tick.due.timestamp()), VERSION)
@workflow(schedule="*/2 * * * * *", tz="UTC", overlap="skip")
def two():
    noted("two")
@workflow(schedule="*/3 * * * * *", tz="UTC", overlap="queue")
def three():
    noted("three")
@workflow(schedule="every 5s", tz="UTC", overlap="allow")
def five():
    noted("five")
"""
BROKEN = "\ndef broken(:\n"


def run(part: int, seed: int, cases: int, *, control: bool = False) -> Figures:
    """So many disturbances, a few seconds apart; `control`: a tick's row is taken out of the file."""
    found = Figures(cases)
    label = f"{seed}/{part}"
    rng = random.Random(label)
    with Place(f"VERSION = 0{SCRIPT}") as place:
        workers = [place.worker() for _ in range(WORKERS)]
        until(lambda: place.lines("ledger"))
        for version in range(1, cases + 1):
            kind = rng.choice(("killed workers", "killed executors", "times that all were stopped", "edits", "broken"))
            if version == 1 and part % 10 == 9:
                kind = "stopped for 80 ticks"
            found.counts[kind] += 1
            _disturb(place, workers, kind, version, rng)
            time.sleep(rng.uniform(0.5, 4.0))
            _begin_again(place, workers, found, label)
        _write(place, f"VERSION = {cases + 1}{SCRIPT}")
        seen = len(place.lines("ledger"))

        def served() -> bool:
            _begin_again(place, workers, found, label)
            return len(place.lines("ledger")) > seen + 3

        if not while_moving(served, lambda: (len(place.lines("ledger")), starved(workers))):
            found.failures.append(f"nothing is served in the end: {label}; {_last_words(place)}")
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(60)
        _judge(place.state, place.lines("ledger"), found, label, control=control)
    return found


def _begin_again(place: Place, workers: list[subprocess.Popen[bytes]], found: Figures, label: str) -> None:
    """As a service manager does: a worker that can load nothing when it begins ends with 1, as the broken script is."""
    for number, worker in enumerate(workers):
        if (status := worker.poll()) is None:
            continue
        if status != 1 or not found.counts["broken"]:
            found.failures.append(f"a worker has ended by itself with {status}: {label}; {_last_words(place)}")
        found.counts["begun again by the service manager"] += 1
        workers[number] = place.worker()


def _last_words(place: Place) -> str:
    return f"the workers say: {place.said.read_text()[-500:]}"


def _write(place: Place, text: str) -> None:
    draft = place.folder / "draft"
    draft.write_text(text)
    draft.replace(place.folder / "app.py")


def _disturb(place: Place, workers: list[subprocess.Popen[bytes]], kind: str, version: int, rng: random.Random) -> None:
    which = rng.randrange(len(workers))
    if kind == "killed workers":
        place.kill(workers[which])
        workers[which] = place.worker()
    elif kind == "killed executors":
        for pid in children(workers[which].pid)[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    elif "stopped" in kind:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(worker.pid, number)
            if number == signal.SIGSTOP:
                time.sleep(LONG if kind == "stopped for 80 ticks" else rng.uniform(3.0, 12.0))
    else:
        _write(place, f"VERSION = {version}{SCRIPT}{BROKEN if kind == 'broken' else ''}")


def _judge(state: Path, ledger: Sequence[Sequence[str]], found: Figures, label: str, *, control: bool) -> None:
    """By another program: each second of the calendar that is a tick has one run or one reason."""
    with contextlib.closing(sqlite3.connect(state)) as file:
        schedules = {
            name: (since, last) for name, since, last in file.execute("SELECT name, since, last FROM schedule")
        }
        rows = file.execute(
            "SELECT t.schedule, t.due, t.last, t.ticks, t.outcome, t.reason, r.id, r.status"
            " FROM tick t LEFT JOIN run r ON r.rid = t.run"
        ).fetchall()
        runs = {id for (id,) in file.execute("SELECT id FROM run")}
    noted = Counter((name, int(due)) for name, due, _ in ledger)
    if control:
        rows.remove(next(row for row in rows if row[6] is not None))
    told: dict[str, list[int]] = {name: [] for name in PERIODS}
    for name, due, last, _count, outcome, reason, id, status in rows:
        told[name] += range(int(due), int(last) + 1, PERIODS[name])
        found.counts["skipped, with a reason" if outcome == "skipped" else "ticks with a run"] += 1
        if (outcome == "skipped") != (reason is not None) or (outcome == "skipped") != (id is None):
            found.failures.append(f"tick {due:.0f} of {name} is {outcome}, with {reason} and {id}: {label}")
        if status == "done" and not noted[name, int(due)]:
            found.failures.append(f"tick {due:.0f} of {name} is done, and was not executed: {label}")
        runs.discard(id)
    for id in runs:
        found.failures.append(f"{id} is the run of no tick: {label}")
    for name, (since, last) in schedules.items():
        calendar = [second for second in range(int(since) + 1, int(last) + 1) if second % PERIODS[name] == 0]
        found.counts["ticks of the calendar"] += len(calendar)
        if sorted(told[name]) != calendar:
            amiss = (Counter(told[name]) - Counter(calendar)) + (Counter(calendar) - Counter(told[name]))
            found.failures.append(f"{name}: ticks that are there twice, not at all or too much: {dict(amiss)}: {label}")
    found.counts["executed again after a kill"] += noted.total() - len(noted)


def control(seed: int) -> Figures:
    """The row of a tick is taken out of the file, as if run and tick were made in two transactions."""
    return run(0, seed, 1, control=True)


def says(found: Figures) -> str:
    counts = found.counts
    kinds = (
        "killed workers",
        "killed executors",
        "times that all were stopped",
        "stopped for 80 ticks",
        "edits",
        "broken",
    )
    how = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    return (
        f"{counts['ticks of the calendar']:,} ticks: {counts['ticks with a run']:,} with a run, others with a reason;"
        f" {counts['executed again after a kill']} executed again after a kill; {how}"
    )


PROOF = Proof(
    name="W5",
    claim="workers with schedules of some seconds killed and stopped, their script edited and broken: each tick has one"
    " run or one reason, and what is done was executed",
    unit="disturbances",
    size=600,
    part=8,
    run=run,
    control=control,
    controlled="the row of a tick is missing",
    short="tests/integration/test_schedules_of_several_workers.py",
    says=says,
    alone=True,
)
