"""W4: workers and senders are killed while signals come at the moment at which runs are left, and bells are removed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from itertools import groupby

from tests.crash.kill import MUTATING, no_strace
from tests.proof.form import Figures, Proof
from tests.proof.serving import PATIENCE, Place, children, killed_at, until

WORKERS = 3
SENDERS = 4
RUNS = 3
"""Runs that each sender sends to."""
SIGNALS = 5
"""For each run and kill."""

CALLS = (*MUTATING, "pwrite64", "fdatasync", "flock")
"""Those that are made at each commit come up twice."""

AT_A_CALL = 4.0
"""Seconds that a process has until it makes the system call at which it is killed; then it is killed all the same."""

SCRIPT = """
import os, random, sys, time
from pathlib import Path
import perdure
from perdure import step, workflow
if os.environ.get("CONTROL"):  # a signal is not marked with the record of its wait
    from perdure.store import waits
    waits._mark = lambda *given: None
def write(what, name, n):
    line = f"{what} {name} {n} {time.monotonic()}\\n".encode()
    ledger = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, line)
    os.close(ledger)
@step
def note(what: str, name: str, n: int) -> None:
    write(what, name, n)
@workflow
def takes(name: str, many: int) -> None:
    for n in range(many):
        note("waits", name, n)
        note("took", name, perdure.wait_for("number"))
def send(names, many, seed):
    rng, waiting, read = random.Random(seed), set(), 0
    for n in range(many):
        for name in names:
            if rng.random() < 0.8:  # at about the moment at which the run is left
                while (name, n) not in waiting:
                    time.sleep(0.002)
                    with open("ledger", "rb") as ledger:
                        ledger.seek(read)
                        lines = ledger.read().rpartition(b"\\n")[0]
                    read += len(lines) + 1 if lines else 0
                    for line in lines.decode().splitlines():
                        what, who, number, _ = line.split()
                        if what == "waits":
                            waiting.add((who, int(number)))
                time.sleep(rng.uniform(0.0, 0.05))
            outcome = perdure.signal(name, "number", n, id=str(n))
            if outcome != "repeated":
                write("sent", name, n)
            if rng.random() < 0.3 and perdure.signal(name, "number", n, id=str(n)) != "repeated":
                write("twice", name, n)
"""


class Sender:
    """A process that sends the numbers of its runs in their order, from the first on each time that it is started."""

    def __init__(self, place: Place, names: list[str], many: int, seed: str) -> None:
        code = f"import sys; sys.path.insert(0, '.'); import app; app.send({names}, {many}, {seed!r})"
        self._command, self._place = [sys.executable, "-c", code], place
        self.start()

    def start(self) -> None:
        """Once more."""
        with self._place.said.open("ab") as said:
            folder, env = self._place.folder, self._place.env
            self.process = subprocess.Popen(self._command, cwd=folder, env=env, stdout=said, stderr=said)

    def kill(self) -> None:
        """It dies."""
        self.process.kill()
        self.process.wait()


def run(part: int, seed: int, cases: int, *, control: bool = False) -> Figures:
    """So many kills, and then all that was sent until it is taken; `control`: it is taken in two transactions."""
    found = Figures(cases, measured={"taken after": []})
    label, many = f"{seed}/{part}", SIGNALS * cases
    rng = random.Random(label)
    groups = [[f"s{sender}-{n}" for n in range(RUNS)] for sender in range(SENDERS)]
    names = [name for group in groups for name in group]
    with Place(SCRIPT, CONTROL="1" if control else "") as place:
        (place.folder / "ledger").touch()
        place.python(f"for name in {names}: app.takes.with_options(id=name).enqueue(name, {many})")
        workers = [place.worker("--slots", "8") for _ in range(WORKERS)]
        senders = [Sender(place, group, many, f"{label}/{n}") for n, group in enumerate(groups)]
        try:
            for case in range(cases):
                due = len(names) * many * case // cases  # spread over all that is taken
                until(lambda due=due: sum(1 for what, *_ in place.lines("ledger") if what == "took") >= due)  # type: ignore[misc]
                time.sleep(rng.uniform(0.0, 0.5))
                kind = "senders" if rng.random() < 0.25 else rng.choice(("workers", "executors"))
                found.counts[kind] += 1
                which = rng.randrange(SENDERS if kind == "senders" else WORKERS)
                pid = senders[which].process.pid if kind == "senders" else _victim(workers[which].pid, kind)
                if pid and rng.random() < 0.5 and not no_strace():
                    found.counts["at a system call"] += killed_at(pid, rng.choice(CALLS), rng.randint(1, 6), AT_A_CALL)
                if kind == "senders":
                    senders[which].kill()
                    senders[which].start()
                else:
                    _kill(place, workers, which, kind, pid)
                if rng.random() < 0.5:
                    found.counts["times all bells were removed"] += 1
                    for bell in place.state.with_name("state.db-locks").glob("*.bell"):
                        bell.unlink(missing_ok=True)
            whole = {(name, str(n)) for name in names for n in range(many)}
            if not until(lambda: _taken(place) >= whole, 10.0 if control else PATIENCE):
                found.failures.append(f"{len(whole - _taken(place))} signals are never taken: {label}")
            codes = {sender.process.wait(PATIENCE) for sender in senders if not control}
            if codes - {0}:
                found.failures.append(f"senders have ended with {codes}: {label}")
        finally:
            for sender in senders:
                sender.kill()
        judge(place.lines("ledger"), names, many, found, label)
    return found


def _taken(place: Place) -> set[tuple[str, str]]:
    return {(name, n) for what, name, n, _ in place.lines("ledger") if what == "took"}


def _victim(worker: int, kind: str) -> int:
    return worker if kind == "workers" else next(iter(children(worker)), 0)


def _kill(place: Place, workers: list[subprocess.Popen[bytes]], which: int, kind: str, pid: int) -> None:
    """Those that were killed at a system call are dead already; of a supervisor, its executors may live on."""
    if kind == "workers":
        if workers[which].poll() is None:
            place.kill(workers[which])
        workers[which] = place.worker("--slots", "8")
    elif pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def judge(ledger: list[list[str]], names: list[str], many: int, found: Figures, label: str) -> None:
    """A step that a kill has cut off notes its number once more, at once; anything else is a fault."""
    at: dict[tuple[str, str, str], float] = {}
    taken: dict[str, list[int]] = {name: [] for name in names}
    for what, name, n, moment in ledger:
        at.setdefault((what, name, n), float(moment))
        if what == "took":
            taken[name].append(int(n))
        if what == "twice":
            found.failures.append(f"{n} of {name} is stored twice: {label}")
    for name, numbers in taken.items():
        found.counts["signals"] += len(set(numbers))
        if [n for n, _ in groupby(numbers)] != list(range(many)):
            found.failures.append(f"{name} has taken {numbers}: {label}")
    for (what, name, n), moment in at.items():
        since = max(at.get(("sent", name, n), moment), at.get(("waits", name, n), moment))
        if what == "took":
            found.measured["taken after"].append(moment - since)


def control(seed: int) -> Figures:
    """A signal is taken in one transaction and its wait recorded in another: it is taken again."""
    return run(0, seed, 1, control=True)


def says(found: Figures) -> str:
    counts, shares = found.counts, {"p50": 0.5, "p99": 0.99, "p100": 1.0}
    after = ", ".join(f"{name} {found.percentile('taken after', share):.2f} s" for name, share in shares.items())
    return (
        f"{counts['signals']:,} signals, many sent again under their id; {counts['workers']} of the kills were workers,"
        f" {counts['executors']} executors, {counts['senders']} senders, {counts['at a system call']} of them at a"
        " mutating system call; all bells removed"
        f" {counts['times all bells were removed']} times; taken after {after}, takeovers included"
    )


PROOF = Proof(
    name="W4",
    claim="workers, executors and senders killed, bells removed, signals sent at the moment at which their run is left:"
    " each is taken once, in order, and no run waits in vain",
    unit="kills",
    size=1_000,
    part=20,
    run=run,
    control=control,
    controlled="a signal is taken in one transaction and recorded in another",
    short="tests/integration/test_waits_killed.py",
    says=says,
    alone=True,
)
