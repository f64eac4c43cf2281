"""Failing disks: one operation fails, once. Out comes success or a named error; the next run goes on.

A fault has a name: `error@N`, `full@N` and `short@N` fail operation N over the VFS of inside/faulty.py;
`own-EIO@N` and its like fail operation N on the files that SQLite does not see (inside/own_files.py);
`CALL=ERRNO@N` makes system call number N of that name report that error, beneath SQLite's own code for files and
shared memory (strace).
"""

from __future__ import annotations

import dataclasses
from collections import Counter

from . import ledger, oracle, trial
from .kill import Kill, strace
from .oracle import Reference, Violation
from .shape import Shape
from .trial import Outcome
from .victim import INSIDE, Death, Home, Nursery

VFS_FAULTS = ("error", "full", "short")
OWN_FAULTS = ("own-EIO", "own-ENOSPC", "own-EROFS", "own-EMFILE")
CALL_FAULTS = (
    "pwrite64=EIO",
    "pwrite64=ENOSPC",
    "fdatasync=EIO",
    "fsync=EIO",
    "pread64=EIO",
    "ftruncate=EIO",
    "flock=EIO",
    "link=EIO",
    "mkdir=EACCES",
)

REFUSED = 3  # the exit status of faulty.py for a named error with a hint


def fail(nursery: Nursery, shape: Shape, expected: Reference, home: Home, fault: str) -> Outcome:
    """Run the workload with that fault, then again on a sound disk; judge both.

    The outcome counts one kill of kind 'fault' if the fault was met at all: N may be more than there are.
    """
    shape = dataclasses.replace(shape, editions=shape.editions[-1:])  # no older version comes after it
    home.install(shape.files[-1])
    name, _, number = fault.partition("@")
    if name in (*VFS_FAULTS, *OWN_FAULTS):
        death, met = _over_vfs(nursery, home, f"{name}:{number}")
    else:
        call, _, error = name.partition("=")
        death, met = _under_strace(nursery, home, call, error, int(number))
    if not met:
        return Outcome()
    lines = ledger.read(home.ledger)
    outcome = Outcome(kills=Counter(fault=1), violations=trial.unreadable(home.state, home.folder / "copy"))
    outcome.refused.update(line.code for line in lines if line.what == "refused")
    outcome.violations += _named(death, lines)
    if outcome.violations:
        outcome.said = home.said()
    if shape.named or not oracle.complete(lines, expected):
        outcome.add(trial.chain(nursery, shape, expected, home, [], first_life=1))
    return outcome


def undisturbed(nursery: Nursery, shape: Shape, home: Home) -> int:
    """How many operations the run makes over the VFS when nothing fails; that it comes to its end is the control."""
    home.install(shape.files[-1])
    death, _ = _over_vfs(nursery, home, "error:0")
    if death.status != 0:
        raise AssertionError(f"with nothing failing it ended with status {death.status}:\n{home.said()}")
    (operations,) = [line.value[0] for line in ledger.read(home.ledger) if line.what == "operations"]
    return int(operations)


def _over_vfs(nursery: Nursery, home: Home, fault: str) -> tuple[Death, bool]:
    argv = [str(INSIDE / "faulty.py"), str(home.script)]
    death = nursery.live(home, 0, Kill(), argv=argv, env={"CRASH_FAULT": fault})
    # Killed or hung, it has not said whether the fault was met; then it is best looked at.
    met = [bool(line.value[1]) for line in ledger.read(home.ledger) if line.what == "operations"]
    return death, all(met)


def _under_strace(nursery: Nursery, home: Home, call: str, error: str, number: int) -> tuple[Death, bool]:
    argv = [str(INSIDE / "faulty.py"), str(home.script)]
    trace = home.folder / "trace"
    tracer = strace(call, number, f"error={error}", trace=str(trace))
    death = nursery.run(home, argv, env=home.environment(0, Kill()), kill=Kill(), tracer=tracer)
    return death, "INJECTED" in trace.read_text(errors="replace")


def _named(death: Death, lines: list[ledger.Line]) -> list[Violation]:
    """Success, or one of perdure's own errors with a hint; nothing else will do."""
    if death.hung:
        return [Violation("hung", "the victim with the fault did not end")]
    if death.status not in (0, REFUSED):
        operation = "".join(line.value[1] for line in lines if line.what == "operations")
        return [Violation("raw", f"{operation} failed: status {death.status}, not a named error")]
    refusals = [line for line in lines if line.what == "refused"]
    return [
        Violation("raw", f"{line.code}, hint: {line.value}")
        for line in refusals
        if not line.value or not line.code.startswith(("state-", "disk-"))
    ]
