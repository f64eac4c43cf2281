"""W3: a serving worker whose system calls fail once, each thread's N-th, while it has runs, waits and a schedule."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.proof.form import Figures, Proof
from tests.proof.serving import PATIENCE, Place, children, until

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

MOST = 60
"""The N-th call is up to that one."""

SERVED = {"j0", "j1", "j2", "nap", "wait"}
ALIVE = {"done", "queued", "running", "suspended"}

SCRIPT = """
import os, time
import perdure
from perdure import step, workflow
def note(*words):
    ledger = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, (" ".join(map(str, words)) + "\\n").encode())
    os.close(ledger)
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

WARM = "for n in range(3): app.job.with_options(id=f'warm{n}').enqueue(f'warm{n}')"
SEND = """
for n in range(3): app.job.with_options(id=f'j{n}').enqueue(f'j{n}')
app.naps.with_options(id='nap').enqueue('nap')
app.waits.with_options(id='wait').enqueue('wait')
perdure.signal('wait', 'go', 0)
"""


def run(part: int, seed: int, cases: int, *, always: bool = False) -> Figures:
    """So many calls that fail; `always`: all later ones fail, too."""
    found = Figures(seen={"calls": set()})
    rng = random.Random(f"{seed}/{part}")
    if shutil.which("strace") is None:
        raise SystemExit("strace is not installed: no system call can be made to fail")
    while found.cases < cases:
        call = "pwrite64" if always else rng.choice(list(CALLS))
        error, nth = rng.choice(CALLS[call]), 1 if always else rng.randint(1, MOST)
        with Place(SCRIPT, PERDURE_SUSPEND_AFTER="0.2s") as place:
            label = f"{call} {error} {nth}, part {part}, seed {seed}"
            failed = _trial(place, call, f"error={error}:when={nth}{'+' if always else ''}", 15.0 if always else 90.0)
            found.cases += 1
            found.failures += [f"{each}: {label}" for each in failed]
            found.counts["injected"] += _injected(place)
            found.seen["calls"].add(f"{call} {error}")
    return found


def _injected(place: Place) -> int:
    with contextlib.suppress(FileNotFoundError):
        return (place.folder / "trace").read_text().count("INJECTED")
    return 0


def _trial(place: Place, call: str, fault: str, patience: float) -> list[str]:
    """What is not as promised, after runs were sent to a worker one of whose calls fails."""
    worker = place.worker()
    if not until(lambda: b"; ready" in place.said.read_bytes()):
        return ["the worker is not ready"]
    place.python(WARM)
    if not until(lambda: _count(place)["end"] >= 3):
        return ["the worker serves nothing"]
    with _failing(place, [worker.pid, *children(worker.pid)], call, fault):
        try:
            place.python(SEND)
        except AssertionError as error:
            return [str(error)]
        ticks = _count(place)["tick"]
        served = until(
            lambda: (
                worker.poll() is not None
                or (
                    {line[1] for line in place.lines("ledger") if line[0] == "end"} >= SERVED
                    and _count(place)["tick"] > ticks + 3
                )
            ),
            patience,
        )
    wrong = [] if served and worker.poll() is None else [f"not served, the worker has ended with {worker.poll()}"]
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        wrong.append("the worker does not end")
    return wrong + _judge(place)


def _judge(place: Place) -> list[str]:
    """Of what is left: steps executed more often than calls failed, runs that failed, a damaged file, a traceback."""
    did = Counter(tuple(line[1:]) for line in place.lines("ledger") if line[0] == "did")
    wrong = [f"{each} executed {times} times" for each, times in did.items() if times > 1 + _injected(place)]
    for command in (["ps", "--json"], ["doctor"]):
        done = subprocess.run(
            [sys.executable, "-m", "perdure", *command],
            cwd=place.folder,
            env=place.env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            wrong.append(f"{command[0]}: {done.stdout[-200:]} {done.stderr[-200:]}")
        elif command[0] == "ps":
            wrong += [
                f"{each['status']}: {each}" for each in json.loads(done.stdout)["runs"] if each["status"] not in ALIVE
            ]
    if b"Traceback" in place.said.read_bytes():
        wrong.append("a traceback")
    return wrong


def _count(place: Place) -> Counter[str]:
    return Counter(line[0] for line in place.lines("ledger"))


@contextlib.contextmanager
def _failing(place: Place, pids: list[int], call: str, fault: str):  # type: ignore[no-untyped-def]
    """Let a call of those processes fail while something is done."""
    threads = [each for pid in pids for each in os.listdir(f"/proc/{pid}/task")]
    files = [place.state.with_name(place.state.name + end) for end in ("", "-wal", "-shm", "-services")]
    paths = [] if call == "flock" else [word for file in files for word in ("-P", str(file))]
    trace = place.folder / "trace"
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
    part=4,
    run=run,
    control=control,
    controlled="all later calls fail, too",
    short="tests/integration/test_runs_given_back.py",
    says=says,
    alone=True,
)
