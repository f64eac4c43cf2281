"""W9: signals within some milliseconds of the time at which their wait is over, with kills."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

from tests.proof.form import Figures, Proof
from tests.proof.serving import PATIENCE, Place, children, until

WORKERS = 2
SENDERS = 4
RUNS = 20

SCRIPT = """
import os, sqlite3, statistics, time
import perdure
from perdure import step, workflow
if os.environ.get("CONTROL"):  # what is there when somebody looks has come in time
    import msgspec
    from perdure.store import waits
    found = waits._found
    def whenever(*given):
        letter = found(*given[:-1], None)
        return letter and msgspec.structs.replace(letter, stamp=0.0)
    waits._found = whenever
@step
def note(name: str, n: int, got: int) -> None:
    ledger = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, f"{name} {n} {got}\\n".encode())
    os.close(ledger)
@workflow
def races(name: str, many: int) -> None:
    for n in range(many):
        note(name, n, perdure.wait_for("number", key=str(n), type=int, timeout=0.4, default=-1))
def send(rng, mine):
    # Aimed by what a signal has taken before: it is to be stored at about the time at which the wait is over.
    file = sqlite3.connect("file:state.db?mode=ro", uri=True, isolation_level=None)
    query = "SELECT r.id, w.topic, w.due FROM wait w JOIN run r ON r.rid = w.run WHERE w.due IS NOT NULL"
    sent, took, seen = set(), [0.004], set()
    while True:
        rows = file.execute(query).fetchall()
        if new := set(rows) - seen:
            with open("dues", "a") as dues:
                dues.writelines(f"{id} {n} {due!r}\\n" for id, n, due in new)
        seen |= new
        aims = sorted((due, id, n) for id, n, due in rows if id in mine and (id, n) not in sent)
        for due, id, n in aims:
            at = due + rng.uniform(-0.012, 0.004) - statistics.median(took[-20:])
            left = at - time.time()
            if left > 0.2:
                break
            if left > 0.02:
                time.sleep(0.002)
                break
            if left > 0:
                time.sleep(left)
            perdure.signal(id, "number", int(n), key=n, id=n)
            sent.add((id, n))
            (stamp,) = file.execute("SELECT s.stamp FROM signal s JOIN run r ON r.rid = s.run"
                                    " WHERE r.id = ? AND s.id = ?", (id, n)).fetchone()
            if 0 < left and 0 < stamp - at < 1:  # else it was late, or the clock was set
                took.append(stamp - at)
        else:
            time.sleep(0.002)
"""


def run(part: int, seed: int, cases: int, *, control: bool = False) -> Figures:
    """So many waits; in each second part, workers are killed, and for a while nobody serves."""
    label, many = f"{seed}/{part}", max(cases // RUNS, 1)
    found = Figures(many * RUNS)
    rng = random.Random(label)
    how = ("undisturbed", "while workers were killed")[part % 2]
    with Place(SCRIPT, CONTROL="1" if control else "") as place:
        found.counts[how] += found.cases
        names = [f"r{n}" for n in range(RUNS)]
        place.python(f"for name in {names}: app.races.with_options(id=name).enqueue(name, {many})")
        workers = [place.worker("--slots", "10") for _ in range(WORKERS)]
        senders = [_sender(place, f"{label}/{n}", names[n::SENDERS]) for n in range(SENDERS)]
        try:
            if how == "while workers were killed":
                _kill(place, workers, rng, many)
            if not until(lambda: _over(place) >= found.cases, PATIENCE + found.cases / 4):
                found.failures.append(f"{found.cases - _over(place)} waits do not end: {label}")
        finally:
            for sender in senders:
                sender.kill()
                sender.wait()
        _judge(place, found, label)
    return found


def _sender(place: Place, seed: str, names: list[str]) -> subprocess.Popen[bytes]:
    code = f"import random, sys; sys.path.insert(0, '.'); import app; app.send(random.Random({seed!r}), {names})"
    with place.said.open("ab") as said:
        return subprocess.Popen([sys.executable, "-c", code], cwd=place.folder, env=place.env, stdout=said, stderr=said)


def _kill(place: Place, workers: list[subprocess.Popen[bytes]], rng: random.Random, many: int) -> None:
    """Executors now and then, and all workers twice, which begin to serve again a second later."""
    for n in range(6):
        until(lambda n=n: _over(place) >= RUNS * many * n // 7)  # type: ignore[misc]
        if n % 3 == 2:
            for worker in workers:
                place.kill(worker)
            time.sleep(rng.uniform(0.5, 1.5))
            workers[:] = [place.worker("--slots", "10") for _ in range(WORKERS)]
        else:
            for pid in children(rng.choice(workers).pid)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _over(place: Place) -> int:
    return len({(name, n) for name, n, _ in place.lines("ledger")})


def _judge(place: Place, found: Figures, label: str) -> None:
    """By another program: a signal that was stored in time was taken, one that came later was not, and stays."""
    dues = {(id, n): float(due) for id, n, due in place.lines("dues")}  # as the file said while the wait was open
    with contextlib.closing(sqlite3.connect(place.state)) as file:
        rows = file.execute("SELECT r.id, s.topic, s.stamp, s.status FROM signal s JOIN run r ON r.rid = s.run")
        letters = {(id, topic): (stamp, status) for id, topic, stamp, status in rows}
    for name, n, got in place.lines("ledger"):
        if (name, n) not in letters or (name, n) not in dues:
            found.counts["never sent"] += 1  # it was over before a sender saw it
            found.failures += [f"{name} got {got} of {n}, which nobody sent: {label}"] if got == n else []
            continue
        stamp, status = letters[name, n]
        due = dues[name, n]
        taken, apart = got == n, abs(stamp - due)
        if got not in (n, "-1") or taken != (status == "taken") or taken != (stamp <= due):
            found.failures.append(f"{name} got {got} of {n}: {status} at {stamp}, due {due}: {label}")
        found.counts["signals in time"] += taken
        found.counts["times over"] += not taken
        found.counts["within 2 ms"] += apart <= 0.002
        found.counts["within 10 ms"] += apart <= 0.01


def control(seed: int) -> Figures:
    """The stamps are not looked at: who is there when somebody looks has won."""
    return run(0, seed, 400, control=True)


def says(found: Figures) -> str:
    counts = found.counts
    kinds = ", ".join(f"{counts[each]:,} {each}" for each in ("undisturbed", "while workers were killed"))
    return (
        f"{counts['signals in time']:,} signals in time, {counts['times over']:,} times over,"
        f" {counts['never sent']:,} never sent; {counts['within 2 ms']:,} of the stamps within 2 ms of the time,"
        f" {counts['within 10 ms']:,} within 10 ms; {kinds}"
    )


PROOF = Proof(
    name="W9",
    claim="signals stored at about the time at which their wait is over, workers killed, none there"
    " for a while: the stamps in the file decide, and what came too late stays for a next wait",
    unit="waits",
    size=10_000,
    part=800,
    run=run,
    control=control,
    controlled="stamps are not looked at: what is there has come in time",
    short="tests/unit/test_waits_judged.py",
    says=says,
    alone=True,
)
