"""The cases of a long run, each named so that it can be run again alone.

`random:T` is a chain of one to five kills. `CALL@N:P` is a kill at the N-th system call CALL of a life; pass 0 takes
the first life, every other pass a life that resumes one which was killed before, at a point that depends on the pass.
`FAULT@N:0` is a disk that fails once (broken.py). `power:T` is one recorded run with its power cut POWER_CUTS times.
What a case does follows from the seed, the shape and its name; only the machine's own timing differs.
"""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from . import broken, power, trial
from .broken import CALL_FAULTS, OWN_FAULTS, VFS_FAULTS
from .kill import MUTATING, Kill, no_strace, random_chain
from .oracle import Reference, Violation
from .shape import SHAPES, Shape
from .trial import Outcome
from .victim import Home, Nursery

MEMORY = Path("/dev/shm")
POWER_CUTS = 10
BLOCK = 20
FAULTS = (*VFS_FAULTS, *OWN_FAULTS, *CALL_FAULTS)


@dataclass(frozen=True)
class Unit:
    """A piece of work for one job: a block of cases of one shape.

    Args:
        shape: the workload.
        kind: 'random', 'call', 'power' or 'fault'.
        number: which pass this is; of 'random' and 'power', which block.
        name: of 'call' and 'fault', which.
        first: of 'call' and 'fault', the number to begin with.
    """

    shape: str
    kind: str
    number: int
    name: str = ""
    first: int = 1

    @property
    def series(self) -> tuple[str, str, int, str]:
        """What this is a block of; a series of calls or faults is over when a number was too high."""
        return self.shape, self.kind, self.number, self.name

    def cases(self) -> Iterator[str]:
        """The names of the cases, in order."""
        if self.kind == "random":
            yield from (f"random:{trial}" for trial in range(self.number * BLOCK, (self.number + 1) * BLOCK))
        elif self.kind == "power":
            yield f"power:{self.number}"
        else:
            yield from (f"{self.name}@{at}:{self.number}" for at in range(self.first, self.first + BLOCK))


def units(shape: str, kind: str, over: set[tuple[str, str, int, str]]) -> Iterator[Unit]:
    """Without end: more and more of one kind for a shape. Of a series in `over`, no more blocks."""
    names = {"call": MUTATING, "fault": (*VFS_FAULTS, *OWN_FAULTS) if no_strace() else FAULTS}.get(kind, ("",))
    for number in itertools.count():
        if kind in ("random", "power"):
            yield Unit(shape, kind, number)
            continue
        for first in itertools.count(1, BLOCK):
            left = [name for name in names if (shape, kind, number, name) not in over]
            if not left:
                break
            yield from (Unit(shape, kind, number, name, first) for name in left)


@dataclass
class Report:
    """What came of a unit: the sum of its cases, the first that broke a promise, and whether its series is over."""

    unit: Unit
    outcome: Outcome = field(default_factory=Outcome)
    broken: str = ""
    over: bool = False


class Ground:
    """Where cases run: a nursery, and a folder that is removed at the end.

    Args:
        seed: decides every case, together with its shape and name.
        memory: in a file system in memory, where no sync waits for a disk; what a killed process has left is the same.
    """

    def __init__(self, seed: int, *, memory: bool = False) -> None:
        self._seed = seed
        self._folder = Path(
            tempfile.mkdtemp(prefix="perdure-crash-", dir=MEMORY if memory and MEMORY.is_dir() else None)
        )
        self._cases = itertools.count()
        self.nursery = Nursery()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.nursery.__exit__(kind, error, trace)
        shutil.rmtree(self._folder, ignore_errors=True)

    def unit(self, unit: Unit) -> Report:
        """Run the cases of a unit."""
        report = Report(unit)
        for case in unit.cases():
            outcome = self.case(SHAPES[unit.shape], case)
            report.outcome.add(outcome)
            if outcome.violations and not report.broken:
                report.broken = case
            if unit.kind in ("call", "fault") and not outcome.kills[unit.kind]:
                report.over = True
                break
        return report

    def case(self, shape: Shape, case: str) -> Outcome:
        """Run one case; its folder is gone afterwards."""
        expected, lines = self._measured(shape)
        # Never one of before: a worker that a case has left behind goes on there, where nothing is judged any more.
        folder = self._folder / f"case{next(self._cases)}"
        try:
            if case.startswith("power:"):
                rng = random.Random(f"{self._seed}/{shape.name}/{case}")
                return power.cut(self.nursery, shape, expected, folder, rng, POWER_CUTS)
            if case.startswith(FAULTS):
                return broken.fail(self.nursery, shape, expected, Home(folder), case.partition(":")[0])
            kills = self._kills(shape, case, lines)
            return trial.chain(self.nursery, shape, expected, Home(folder), kills)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def torn(self, shape: Shape) -> list[Violation]:
        """A control: what is found to be wrong with the state file of a run, one page of which was not written."""
        home = Home(self._folder / "torn")
        home.install(shape.files[-1])
        self.nursery.live(home, 0, Kill())
        trial.tear(home.state)
        return trial.unreadable(home.state, home.folder / "copy")

    def _kills(self, shape: Shape, case: str, lines: int) -> list[Kill]:
        name, _, number = case.partition(":")
        if name == "random":
            return random_chain(random.Random(f"{self._seed}/{shape.name}/{case}"), lines)
        call, _, at = name.partition("@")
        before = []
        if int(number) > 0:
            rng = random.Random(f"{self._seed}/{shape.name}/{number}")
            before = [Kill("point", at=rng.randint(1, lines))]
        return [*before, Kill("call", at=int(at), call=call)]

    def reference(self, shape: Shape) -> Reference:
        """What the shape comes to when nothing disturbs it."""
        return self._measured(shape)[0]

    def _measured(self, shape: Shape) -> tuple[Reference, int]:
        return trial.measured(self.nursery, shape, self._folder / f"reference-{shape.name}")
