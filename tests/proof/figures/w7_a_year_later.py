"""W7: the clock of a worker jumps by a year, while it runs or while it is stopped, under each policy of schedules."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.proof.form import Figures, Proof
from tests.proof.serving import NOTE, Place, starved, while_moving

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
"""Of Debian's package faketime; the clock that nobody sets is left alone."""

DAY = 86_400
RUNS = {
    "skip": {"skip": "none", "one": "one", "all": "each in turn"},
    "queue": {"skip": "none", "one": "one", "all": "each in turn"},
    "allow": {"skip": "none", "one": "one", "all": "each"},
    "cancel": {"skip": "none", "one": "one", "all": "one"},
}
"""By overlap and missed: what is executed of the ticks that nobody served."""

SCRIPT = (
    """
import os
import perdure
from perdure import step, workflow
"""
    + NOTE
    + """
@step
def work(name: str, due: int, missed: int) -> None:
    note("begins", name, due, missed)
    note("ends", name, due, missed)
@workflow
def noted(name: str) -> None:
    tick = perdure.tick()
    work(name, int(tick.due.timestamp()), tick.missed)
for overlap in ("skip", "queue", "allow", "cancel"):
    for missed in ("skip", "one", "all"):
        name = f"{overlap}-{missed}"
        how = {"overlap": overlap, "missed": MISSED or missed, "within": "800d", "tz": "UTC"}
        perdure.schedule(noted, "0 0 1 * *", name=name, args=(name,), **how)
"""
)


def run(part: int, seed: int, cases: int, *, control: bool = False) -> Figures:
    """So many jumps, each of a worker and twelve schedules of its own."""
    found = Figures()
    rng = random.Random(f"{seed}/{part}")
    if not LIBRARIES:
        raise SystemExit("apt-get install faketime")
    while found.cases < cases:
        jump = rng.randint(365 * DAY, 400 * DAY)
        while_it_runs = rng.random() < 0.5
        found.cases += 12
        found.counts["under a running worker" if while_it_runs else "while none ran"] += 12
        label = f"{seed}/{part}, {jump} s, {'running' if while_it_runs else 'stopped'}"
        found.failures += [f"{each}: {label}" for each in _jumped(jump, found, while_it_runs, control=control)]
    return found


def _jumped(jump: int, found: Figures, while_it_runs: bool, *, control: bool) -> Sequence[str]:
    env = {"LD_PRELOAD": str(LIBRARIES[-1]), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    with Place(f"MISSED = {'one' if control else ''!r}{SCRIPT}") as place:
        clock = place.folder / "clock"
        clock.write_text("+0")
        place.env |= {**env, "FAKETIME_TIMESTAMP_FILE": str(clock)}
        worker = place.worker("--slots", "8")
        if not while_moving(
            lambda: len(_ask(place, "SELECT name FROM schedule WHERE last IS NOT NULL")) == 12,
            lambda: (place.said.stat().st_size, starved([worker])),
        ):
            return [f"the schedules are not declared; the worker says: {place.said.read_text()[-500:]}"]
        if not while_it_runs:
            worker.terminate()
            worker.wait(60)
        clock.write_text(f"+{jump}")
        if not while_it_runs:
            worker = place.worker("--slots", "8")
        ended = while_moving(
            lambda: _is_over(place, time.time() + jump), lambda: (len(place.lines("ledger")), starved([worker]))
        )
        worker.terminate()
        try:
            worker.wait(60)
        except subprocess.TimeoutExpired:
            return ["the worker does not end"]
        wrong = [] if ended else [f"not all runs end; the worker says: {place.said.read_text()[-500:]}"]
        if while_it_runs and "clock-jump" not in place.said.read_text():
            wrong.append("the worker does not say that its clock has jumped")
        return wrong + _judged(place, time.time() + jump, found)


def _is_over(place: Place, now: float) -> bool:
    """Have all schedules come to that moment, and all runs to their end?"""
    behind = _ask(place, "SELECT name FROM schedule WHERE last < ?", now - 32 * DAY)
    return not behind and not _ask(place, "SELECT id FROM run WHERE status NOT IN ('done', 'cancelled')")


def _judged(place: Place, now: float, found: Figures) -> list[str]:
    """By the calendar, the file and the ledger: each month has a row, and what is executed is as the tables say."""
    wrong = []
    ledger = place.lines("ledger")
    for name, since in _ask(place, "SELECT name, since FROM schedule"):
        overlap, missed = name.split("-")
        due = _firsts(since, now)
        rows = _ask(place, "SELECT due, last, outcome, reason, run FROM tick WHERE schedule = ? ORDER BY due", name)
        told = [each for begin, end, *_ in rows for each in due if begin <= each <= end]
        found.counts["ticks"] += len(due)
        if told != due:
            wrong.append(f"{name}: {len(told)} of {len(due)} ticks have a row")
        if any((run is None) != (reason is not None) for *_, reason, run in rows):
            wrong.append(f"{name}: a tick has neither a run nor a reason, or both")
        lines = [(what, int(at), int(k)) for what, of, at, k in ledger if of == name]
        executed = sorted(at for what, at, _ in lines if what == "ends")
        found.counts["runs"] += len(executed)
        which = RUNS[overlap][missed]
        if executed != {"none": [], "one": due[-1:]}.get(which, due):
            wrong.append(f"{name}: {len(executed)} of {len(due)} ticks are executed")
        if which == "one" and [k for what, _, k in lines if what == "begins"] != [len(due)]:
            wrong.append(f"{name}: the run stands for {[k for _, _, k in lines]} ticks, of {len(due)}")
        in_turn = [(what, at) for at in due for what in ("begins", "ends")]
        if which == "each in turn" and [(what, at) for what, at, _ in lines] != in_turn:
            wrong.append(f"{name}: the runs are not executed one after the other")
    return wrong


def _firsts(since: float, now: float) -> list[int]:
    """The first days of months between two moments."""
    begin = datetime.fromtimestamp(since, UTC).year
    firsts = (datetime(begin + n // 12, n % 12 + 1, 1, tzinfo=UTC).timestamp() for n in range(60))
    return [int(each) for each in firsts if since < each <= now]


def _ask(place: Place, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(place.state)) as file:
        return file.execute(query, values).fetchall()
    return []


def control(seed: int) -> Figures:
    """All schedules are declared with missed="one", and judged as before."""
    return run(0, seed, 12, control=True)


def says(found: Figures) -> str:
    counts = found.counts
    return (
        f"{counts['ticks']:,} ticks missed, {counts['runs']:,} runs; {counts['under a running worker']} of the jumps"
        f" under a running worker, {counts['while none ran']} while none ran"
    )


PROOF = Proof(
    name="W7",
    claim="the clock of a worker jumps by a year or more, while it runs or while it is stopped, under each overlap and"
    " each policy for what was missed: each tick has a row, and those are executed that the tables say, in their order",
    unit="schedules",
    size=600,
    part=12,
    run=run,
    control=control,
    controlled="every schedule has another policy than is judged",
    short="tests/unit/test_tick_verdicts.py",
    says=says,
    alone=True,
)
