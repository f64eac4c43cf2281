"""Failing disks: each operation fails once in turn. Out comes success or a named error; the next run goes on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from . import ledger, oracle, trial
from .kill import Kill, with_strace
from .oracle import Reference, Violation
from .shape import Shape
from .trial import Outcome
from .victim import INSIDE, Death, Home, Nursery

REFUSED = 3  # the exit status of faulty.py for a named error with a hint


@dataclass
class Failures:
    """What came of many failures."""

    outcome: Outcome = field(default_factory=Outcome)
    operations: int = 0
    survived: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def take(self, lines: list[ledger.Line], death: Death) -> None:
        """Count what the victim with the failing disk came to."""
        for line in lines:
            if line.what == "operations":
                self.operations = max(self.operations, line.value[0])
            elif line.what == "refused":
                self.refused[line.code] = self.refused.get(line.code, 0) + 1
        self.survived += death.status == 0


def operations(nursery: Nursery, shape: Shape, kind: str, folder: Path) -> int:
    """How many operations of the kind an undisturbed run makes: the last number worth failing."""
    failures = Failures()
    home = Home(folder)
    home.install(shape.files[-1])
    death = _with_vfs(nursery, home, f"{kind}:0")
    if death.status != 0:
        raise AssertionError(f"with nothing failing it ended with status {death.status}:\n{home.said()}")
    failures.take(ledger.read(home.ledger), death)
    return failures.operations


def each_operation(
    nursery: Nursery, shape: Shape, expected: Reference, folder: Path, kind: str, numbers: Iterable[int]
) -> Failures:
    """Fail operation N once, for each N, over the VFS of faulty.py; then run again on a sound disk, and judge.

    Args:
        nursery: where victims come from.
        shape: the workload.
        expected: what the uninterrupted run came to.
        folder: to work in.
        kind: 'error', 'full' or 'short'.
        numbers: the N.
    """
    failures = Failures()
    for number in numbers:
        home = Home(folder / f"{kind}{number}")
        home.install(shape.files[-1])
        death = _with_vfs(nursery, home, f"{kind}:{number}")
        _settle(failures, nursery, shape, expected, home, death, f"{kind}:{number}")
    return failures


def each_call(
    nursery: Nursery, shape: Shape, expected: Reference, folder: Path, call: str, error: str, numbers: Iterable[int]
) -> Failures:
    """The same, with the kernel's own answer: system call number N of that name reports `error` (strace)."""
    failures = Failures()
    for number in numbers:
        home = Home(folder / f"{call}{number}")
        home.install(shape.files[-1])
        script = [sys.executable, str(INSIDE / "faulty.py"), str(home.script)]
        trace = home.folder / "trace"
        argv = with_strace(script, call, number, f"error={error}", trace=str(trace))
        death = nursery.run(home, argv, execute=True, env=home.environment(0, Kill()), kill=Kill())
        if "INJECTED" not in trace.read_text(errors="replace"):
            break  # the run was over before call N
        _settle(failures, nursery, shape, expected, home, death, f"{call}:{error}:{number}")
    return failures


def _with_vfs(nursery: Nursery, home: Home, fault: str) -> Death:
    argv = [str(INSIDE / "faulty.py"), str(home.script)]
    return nursery.live(home, 0, Kill(), argv=argv, env={"CRASH_FAULT": fault})


def _settle(
    failures: Failures, nursery: Nursery, shape: Shape, expected: Reference, home: Home, death: Death, fault: str
) -> None:
    """Judge one failure, and whether the workload gets over it."""
    lines = ledger.read(home.ledger)
    failures.take(lines, death)
    outcome = Outcome(violations=trial.unreadable(home.state, home.folder / "copy"))
    if death.hung or death.status not in (0, REFUSED):
        failed = [line.value[1] for line in lines if line.what == "operations"]
        what = f"{fault} ({failed}) ended with status {death.status}, not with a named error"
        outcome.violations.append(Violation("hung" if death.hung else "raw", what))
        outcome.said = home.said()
    if any(line.what == "refused" and not line.value for line in lines):
        outcome.violations.append(Violation("raw", f"{fault}: an error without a hint"))
    if shape.named or not oracle.complete(lines, expected):
        resumed = trial.chain(nursery, shape, expected, home, [], first_life=1)
        outcome.add(resumed)
    outcome.kills["fault"] += 1
    if outcome.violations:
        outcome.violations = [Violation(found.kind, f"[{fault}] {found.what}") for found in outcome.violations]
    failures.outcome.add(outcome)
    shutil.rmtree(home.folder, ignore_errors=True)
