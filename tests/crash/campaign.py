"""The long run: units of cases handed to several processes, and the score."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import multiprocessing.util
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from .cases import Ground, Report, Unit, units
from .shape import RECORDED
from .trial import Outcome

_ground: Ground | None = None


def _settle_in(seed: int) -> None:
    global _ground
    _ground = Ground(seed)
    # A pool's worker ends without unwinding: this is the only time it has to clean up.
    multiprocessing.util.Finalize(None, _ground.__exit__, (None, None, None), exitpriority=10)


def _work(unit: Unit) -> Report:
    assert _ground is not None
    return _ground.unit(unit)


class Campaign:
    """Hands out units until there were enough kills of each kind, and keeps the score.

    Args:
        shapes: the names of the workloads.
        wanted: how many kills of each kind ('random', 'call', 'power').
        seed: decides every case.
        jobs: how many processes work.
    """

    def __init__(self, shapes: list[str], wanted: dict[str, int], seed: int, jobs: int) -> None:
        self._shapes = shapes
        # Every shape gets its share, so that no cheap one uses up what the others are to have.
        self._wanted = {
            (kind, shape): math.ceil(count / len(shapes))
            for kind, count in wanted.items()
            for shape in shapes
            if count and (kind != "power" or shape in RECORDED)
        }
        self._seed = seed
        self._jobs = jobs
        self._done = dict.fromkeys(self._wanted, 0)
        self._over: set[tuple[str, str, int, str]] = set()
        self.by_shape = {shape: Outcome() for shape in shapes}
        self.broken: list[Report] = []
        self._told = time.monotonic()

    def run(self) -> None:
        """Until enough is done."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self._jobs, context, _settle_in, (self._seed,)) as pool:
            supply = self._supply()
            running: set[Future[Report]] = set()
            while True:
                running |= {
                    pool.submit(_work, unit) for unit in itertools.islice(supply, 2 * self._jobs - len(running))
                }
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    self._count(future.result())
                self._tell()

    def _supply(self) -> Iterator[Unit]:
        """One unit of each kind and shape in turn, for as long as more of it is wanted."""
        queues = {(kind, shape): units(shape, kind, self._over) for kind, shape in self._wanted}
        while unfinished := [key for key in queues if self._done[key] < self._wanted[key]]:
            for key in unfinished:
                if self._done[key] < self._wanted[key]:
                    yield next(queues[key])

    def _tell(self) -> None:
        """How far it is, twice a minute."""
        if time.monotonic() - self._told > 30:
            self._told = time.monotonic()
            done = sum(min(self._done[key], wanted) for key, wanted in self._wanted.items())
            print(f"{done} of {sum(self._wanted.values())}, {len(self.broken)} broken", flush=True)

    def _count(self, report: Report) -> None:
        self._done[report.unit.kind, report.unit.shape] += report.outcome.kills.total()
        self.by_shape[report.unit.shape].add(report.outcome)
        if report.over:
            self._over.add(report.unit.series)
        if report.broken:
            self.broken.append(report)
            print(f"BROKEN {report.unit.shape} {report.broken}: {report.outcome.violations[0]}", flush=True)
