"""W3: a serving worker whose system calls fail once, each thread's N-th, while it has runs, waits and a schedule."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.proof.form import Figures, Proof
from tests.proof.serving import NOTE, PATIENCE, Place, children, until

CALLS = {
    "pwrite64": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO",),
    "pread64": ("EIO",),
    "openat": ("EMFILE", "EACCES"),
    "flock": ("EIO",),
}
"""Which calls fail, and how. Those that take a descriptor fail at the state file and what lies beside it only.

Not fcntl(2): strace cannot tell a lock from its end, and the kernel never refuses that one; SQLite would hold the lock
without knowing, and every other process would be told that the file is busy."""

MOST = 30
"""The N-th call is up to that one."""

SERVED = {"j0", "j1", "j2", "nap", "wait"}
ALIVE = {"done", "queued", "running", "suspended"}

SCRIPT = (
    """
import os, time
import perdure
from perdure import step, workflow
"""
    + NOTE
    + """
@step
def work(run: str, n: int) -> int:
    note("did", run, n)
    return n
@workflow
def job(run: str) -> None:
    work(run, 0)
    work(run, 1)
    note("end", run)
@workflow
def naps(run: str) -> None:
    work(run, 0)
    perdure.sleep("1s")
    work(run, 1)
    note("end", run)
@workflow
def waits(run: str) -> None:
    work(run, perdure.wait_for("go", type=int))
    note("end", run)
@workflow(schedule="* * * * * *", tz="UTC", overlap="allow")
def ticks() -> None:
    note("tick", perdure.tick().due.timestamp())
"""
)

SENDER = """
import sys; sys.path.insert(0, '.')
import app, perdure
for line in sys.stdin:
    trial = line.strip()
    for n in range(3): app.job.with_options(id=f'{trial}-j{n}').enqueue(f'{trial}-j{n}')
    app.naps.with_options(id=f'{trial}-nap').enqueue(f'{trial}-nap')
    app.waits.with_options(id=f'{trial}-wait').enqueue(f'{trial}-wait')
    perdure.signal(f'{trial}-wait', 'go', 0)
    print(trial, flush=True)
"""

HELD = "held"
"""Besides: another program has the file's write lock for half a minute."""


def run(part: int, seed: int, cases: int, *, always: bool = False) -> Figures:
    """So many calls that fail, one after the other, under one worker; `always`: all later ones fail, too."""
    found = Figures(seen={"calls": set()})
    rng = random.Random(f"{seed}/{part}")
    if shutil.which("strace") is None:
        raise SystemExit("strace is not installed: no system call can be made to fail")
    while found.cases < cases:
        with Served(f"part {part}, seed {seed}") as served:
            while found.cases < cases and not served.wrong:
                call = "pwrite64" if always else HELD if found.cases % cases == 7 else rng.choice(list(CALLS))
                error, nth = rng.choice(CALLS.get(call, ("30 s",))), 1 if always else rng.randint(1, MOST)
                fault = f"error={error}:when={nth}{'+' if always else ''}"
                served.trial(call, fault, 15.0 if always else 120.0)
                found.cases += 1
                found.seen["calls"].add(f"{call} {error}")
            served.end()
        found.failures += served.wrong
        found.counts["injected"] += served.injected.total()
    return found


class Served:
    """A worker, whoever sends it runs, and what is wrong so far.

    Args:
        label: of the part, for whoever wants to see a failure again.
    """

    def __init__(self, label: str) -> None:
        self.wrong: list[str] = []
        self.injected: Counter[str] = Counter()
        self._label = label
        self._place = Place(SCRIPT, PERDURE_SUSPEND_AFTER="0.2s")

    def __enter__(self) -> Self:
        self._worker = self._place.worker()
        with self._place.said.open("ab") as said:
            self._sender = subprocess.Popen(
                [sys.executable, "-c", SENDER],
                cwd=self._place.folder,
                env=self._place.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        if not until(lambda: b"; ready" in self._place.said.read_bytes()):
            self._fails("the worker is not ready")
        elif not self._sent("t0") or not until(lambda: self._ended("t0")):
            self._fails("the worker serves nothing")
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.kill()
        self._sender.communicate()
        self._place.__exit__()

    def trial(self, call: str, fault: str, patience: float) -> None:
        """A call of the worker's processes fails while runs are sent to it, which it has to serve."""
        trial, before = f"t{len(self.injected) + 1}", self._ticks()
        self.injected[trial] = 0
        pids = [self._worker.pid, *children(self._worker.pid)]
        with _held(self._place) if call == HELD else _failing(self._place, pids, call, fault, trial):
            sent = self._sent(trial)
            served = sent and until(
                lambda: self._worker.poll() is not None or (self._ended(trial) and len(self._ticks() - before) > 2),
                patience,
            )
        with contextlib.suppress(FileNotFoundError):
            self.injected[trial] = (self._place.folder / trial).read_text().count("INJECTED")
        if not served or self._worker.poll() is not None:
            self._fails(f"{call} {fault}: {trial} not served, the worker has ended with {self._worker.poll()}")

    def end(self) -> None:
        """The worker is told to leave; then what is left is looked at."""
        self._worker.send_signal(signal.SIGTERM)
        try:
            self._worker.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._fails("the worker does not end")
        self._judge()

    def _judge(self) -> None:
        """Steps executed more often than calls failed, runs that failed, a damaged file, a traceback."""
        did = Counter(tuple(line[1:]) for line in self._place.lines("ledger") if line[0] == "did")
        for (run, step), times in did.items():
            if times > 1 + self.injected[run.partition("-")[0]]:
                self._fails(f"step {step} of {run} executed {times} times")
        for command in (["ps", "--json", "--limit", "100000"], ["doctor"]):
            done = subprocess.run(
                [sys.executable, "-m", "perdure", *command],
                cwd=self._place.folder,
                env=self._place.env,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                self._fails(f"{command[0]}: {done.stdout[-200:]} {done.stderr[-200:]}")
            elif command[0] == "ps":
                runs = json.loads(done.stdout)["runs"]
                for each in runs:
                    if each["status"] not in ALIVE:
                        self._fails(f"{each['status']}: {each}")
        if b"Traceback" in self._place.said.read_bytes():
            self._fails("a traceback")

    def _fails(self, what: str) -> None:
        self.wrong.append(f"{what}: {self._label}")

    def _sent(self, trial: str) -> bool:
        assert self._sender.stdin is not None
        assert self._sender.stdout is not None
        self._sender.stdin.write(f"{trial}\n")
        self._sender.stdin.flush()
        return self._sender.stdout.readline().strip() == trial

    def _ended(self, trial: str) -> bool:
        ended = {line[1] for line in self._place.lines("ledger") if line[0] == "end"}
        return ended >= {f"{trial}-{name}" for name in SERVED}

    def _ticks(self) -> set[str]:
        return {line[1] for line in self._place.lines("ledger") if line[0] == "tick"}


@contextlib.contextmanager
def _held(place: Place) -> Iterator[None]:
    """Another program writes for half a minute, while something is done."""
    with contextlib.closing(sqlite3.connect(place.state, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(30.0, other.execute, ["ROLLBACK"]).start()
        yield


@contextlib.contextmanager
def _failing(place: Place, pids: list[int], call: str, fault: str, name: str) -> Iterator[None]:
    """Let a call of those processes fail while something is done."""
    threads = [each for pid in pids for each in os.listdir(f"/proc/{pid}/task")]
    files = [place.state.with_name(place.state.name + end) for end in ("", "-wal", "-shm", "-services")]
    paths = [] if call == "flock" else [word for file in files for word in ("-P", str(file))]
    trace = place.folder / name
    command = ["strace", "-qq", "-o", str(trace), "-e", f"trace={call}", "-e", f"inject={call}:{fault}", *paths]
    tracer = subprocess.Popen(
        [*command, *(word for each in threads for word in ("-p", each))], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: all(_traced(each) for each in threads))
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def _traced(thread: str) -> bool:
    try:
        return "TracerPid:\t0" not in Path(f"/proc/{thread}/status").read_text()
    except OSError:
        return True


def control(seed: int) -> Figures:
    """All later calls fail, too: nothing can be served then."""
    return run(0, seed, 1, always=True)


def says(found: Figures) -> str:
    return f"{found.counts['injected']:,} calls failed, of {len(found.seen.get('calls', ()))} kinds"


PROOF = Proof(
    name="W3",
    claim="a system call of a serving worker fails once: what is queued, sleeps, waits and is scheduled is served all"
    " the same, nothing executed more often than calls failed, and the file intact",
    unit="trials",
    size=500,
    part=20,
    run=run,
    control=control,
    controlled="all later calls fail, too",
    short="tests/integration/test_runs_given_back.py",
    says=says,
)
