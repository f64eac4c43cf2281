"""W9: signals stored at about the time at which their wait is over, with kills and clocks that are set back.

A sender aims twice: it begins some milliseconds before the moment that it has drawn, by what a signal has taken so far;
and inside of the transaction, where the stamp is taken, it stays until that moment, if it is early. So it has the turn
to write as the time of the wait is over, or has it a moment later, or is kept out by whoever records that end.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.proof.form import Figures, Proof
from tests.proof.serving import PATIENCE, Place, again_and_again, children, until

WORKERS = 2
SENDERS = 4
RUNS = 12

KILLED, SET_BACK = "while workers were killed", "while the clock was set back"
HOW = ("undisturbed", KILLED, SET_BACK)

SCRIPT = """
import contextlib, os, sqlite3, time
import perdure
from perdure import step, workflow
from perdure.errors import RunHasEnded
from perdure.store import signals
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
        note(name, n, perdure.wait_for("number", key=str(n), type=int, timeout=1.0, default=-1))
MOMENT = [0.0, 0.0]  # at which the next stamp is wanted, and when it was asked for
def in_its_transaction(send=signals.send):
    def aimed(*given, clock, **how):
        def stays():
            MOMENT[1] = clock()
            while clock() < MOMENT[0] < MOMENT[1] + 0.02:
                pass
            return clock()
        return send(*given, clock=stays, **how)
    return aimed
def send(rng, mine):
    signals.send = in_its_transaction()
    file = sqlite3.connect("file:state.db?mode=ro", uri=True, isolation_level=None)
    query = "SELECT r.id, w.topic, w.due FROM wait w JOIN run r ON r.rid = w.run WHERE w.due IS NOT NULL"
    sent, took, seen = set(), [0.005], set()
    while True:
        rows = file.execute(query).fetchall()
        if new := set(rows) - seen:
            with open("dues", "a") as dues:
                dues.writelines(f"{id} {n} {due!r}\\n" for id, n, due in new)
        seen |= new
        for due, id, n in sorted((due, id, n) for id, n, due in rows if id in mine and (id, n) not in sent):
            MOMENT[0] = due + rng.uniform(-0.002, 0.002)
            recent = sorted(took[-40:])
            at = MOMENT[0] - recent[int(len(recent) * rng.choice((0.5, 0.8, 0.95)))]
            left = at - time.time()
            if left > 0.1:
                break
            if left > 0.005:
                time.sleep(0.002)
                break
            while time.time() < at < due + 1:
                pass
            began = time.time()
            with contextlib.suppress(RunHasEnded):
                outcome = perdure.signal(id, "number", int(n), key=n, id=n)
                with open("sent", "a") as said:
                    said.write(f"{id} {n} {outcome}\\n")
            sent.add((id, n))
            if 0 < MOMENT[1] - began < 0.1:  # else the clock was set
                took.append(MOMENT[1] - began)
        else:
            time.sleep(0.002)
"""

CLOCK = """
import mmap, struct, time
with open("clock", "rb") as file:
    behind = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
def late(now=time.time):
    return now() - struct.unpack("d", behind)[0]
time.time = late
"""
"""Of every process: in a folder whose file `clock` says by how many seconds it is behind."""


def run(part: int, seed: int, cases: int, *, control: bool = False) -> Figures:
    """So many waits; in one part of three workers are killed, and for a while nobody serves, and in one the clock
    of all processes is set back now and then."""
    label, many = f"{seed}/{part}", max(cases // RUNS, 1)
    found = Figures(many * RUNS)
    rng = random.Random(label)
    how = HOW[part % 3]
    with Place(SCRIPT, CONTROL="1" if control else "") as place, contextlib.ExitStack() as stack:
        found.counts[how] += found.cases
        if how == SET_BACK:
            stack.enter_context(_set_back(place, rng))
        names = [f"r{n}" for n in range(RUNS)]
        place.python(f"for name in {names}: app.races.with_options(id=name).enqueue(name, {many})")
        workers = [place.worker("--slots", "10") for _ in range(WORKERS)]
        senders = [_sender(place, f"{label}/{n}", names[n::SENDERS]) for n in range(SENDERS)]
        try:
            if how == KILLED:
                _kill(place, workers, rng, many)
            if not until(lambda: _over(place) >= found.cases, PATIENCE + found.cases / 4):
                found.failures.append(f"{found.cases - _over(place)} waits do not end: {label}")
        finally:
            for sender in senders:
                sender.kill()
                sender.wait()
        _judge(place, found, label, how)
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


def _judge(place: Place, found: Figures, label: str, how: str) -> None:
    """By another program: a signal that was stored in time was taken, one that came later was not, and stays.

    A clock that is set back moves the end of a wait: what lies between the ends that it has had may be either."""
    dues: dict[tuple[str, str], set[float]] = {}
    for id, n, due in place.lines("dues"):  # as the file said while the wait was open
        dues.setdefault((id, n), set()).add(float(due))
    with contextlib.closing(sqlite3.connect(place.state)) as file:
        rows = file.execute("SELECT r.id, s.topic, s.stamp, s.status FROM signal s JOIN run r ON r.rid = s.run")
        letters = {(id, topic): (stamp, status) for id, topic, stamp, status in rows}
    sent = {(id, n): outcome for id, n, outcome in place.lines("sent")}
    for name, n, got in place.lines("ledger"):
        if (name, n) not in letters or (name, n) not in dues:
            found.counts["never sent"] += 1  # it was over before a sender saw it
            found.failures += [f"{name} got {got} of {n}, which nobody sent: {label}"] if got == n else []
            continue
        stamp, status = letters[name, n]
        ends = dues[name, n]
        taken = got == n
        may_be = {stamp <= end for end in ends}
        if how == SET_BACK and sent.get((name, n)) == "stored":
            may_be.add(False)  # the wait was over, by a clock that was ahead
        if (
            got not in (n, "-1")
            or taken != (status == "taken")
            or taken not in may_be
            or (sent.get((name, n)) == "taken" and not taken)
        ):
            found.failures.append(f"{name} got {got} of {n}: {status} at {stamp}, due {ends}: {label}")
        apart = min(abs(stamp - end) for end in ends)
        found.counts["signals in time"] += taken
        found.counts["times over"] += not taken
        found.counts["moved"] += len(ends) > 1
        found.counts["within 2 ms"] += apart <= 0.002
        found.counts["within 10 ms"] += apart <= 0.01


@contextlib.contextmanager
def _set_back(place: Place, rng: random.Random) -> Iterator[None]:
    """The clock of all processes is set back by up to half a second, about once in a second."""
    clock, behind = place.folder / "clock", 0.0
    clock.write_bytes(struct.pack("d", behind))
    (place.folder / "sitecustomize.py").write_text(CLOCK)
    place.env["PYTHONPATH"] = os.pathsep.join([str(place.folder), place.env["PYTHONPATH"]])

    def set_back() -> None:
        nonlocal behind
        behind += rng.choice((0.01, 0.05, 0.2, 0.5))
        with clock.open("r+b") as file:
            file.write(struct.pack("d", behind))

    with again_and_again(set_back, lambda: rng.uniform(0.5, 1.5)):
        yield


def control(seed: int) -> Figures:
    """The stamps are not looked at: who is there when somebody looks has won."""
    return run(0, seed, 240, control=True)


def says(found: Figures) -> str:
    counts = found.counts
    kinds = ", ".join(f"{counts[each]:,} {each}" for each in HOW)
    return (
        f"{counts['signals in time']:,} signals in time, {counts['times over']:,} times over,"
        f" {counts['never sent']:,} never sent; {counts['within 2 ms']:,} of the stamps within 2 ms of the time,"
        f" {counts['within 10 ms']:,} within 10 ms;"
        f" of the waits {kinds}, {counts['moved']:,} with an end that moved"
    )


PROOF = Proof(
    name="W9",
    claim="signals stored at about the time at which their wait is over, workers killed, none there for a while,"
    " the clock set back: the stamps in the file decide, and what came too late stays for a next wait",
    unit="waits",
    size=10_000,
    part=960,
    run=run,
    control=control,
    controlled="stamps are not looked at: what is there has come in time",
    short="tests/unit/test_waits_judged.py",
    says=says,
    alone=True,
)
