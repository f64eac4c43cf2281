"""Does what is left of a figure, part by part, in processes of their own."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from .form import Figures, Proof, all_proofs
from .progress import Done, Progress


def one_part(name: str, part: int | None, seed: int) -> tuple[int | None, Figures, float]:
    """In a process of its own: do a part, or the control."""
    proof = all_proofs()[name]
    started = time.monotonic()
    found = proof.control(seed) if part is None else proof.run(part, seed, proof.part)
    return part, found, time.monotonic() - started


class Runner:
    """Does what is left of one figure.

    Args:
        proof: the figure.
        progress: where it is written down.
        seed: decides every case.
        wanted: how many cases are to be done, those done before included.
        jobs: how many parts at a time.
        until: on the monotonic clock, in seconds; no part begins later.
    """

    def __init__(self, proof: Proof, progress: Progress, seed: int, wanted: int, jobs: int, until: float) -> None:
        self._proof = proof
        self._progress = progress
        self._seed = seed
        self._wanted = wanted
        self._jobs = 1 if proof.alone else jobs
        self._until = until
        self._done = progress.of(proof.name)

    def run(self) -> Done:
        """Until there is enough, or no time left."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self._jobs, context) as pool:
            supply = self._supply()
            running: set[Future[tuple[int | None, Figures, float]]] = set()
            while True:
                running |= {
                    pool.submit(one_part, self._proof.name, part, self._seed)
                    for part in itertools.islice(supply, self._jobs - len(running))
                }
                if not running:
                    return self._done
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    self._count(*future.result())

    def _supply(self) -> Iterator[int | None]:
        if self._done.control is None:
            yield None
        for part in itertools.count() if self._proof.parts is None else range(self._proof.parts):
            if self._done.figures.cases >= self._wanted or time.monotonic() > self._until:
                return
            if part not in self._done.parts:
                yield part

    def _count(self, part: int | None, found: Figures, seconds: float) -> None:
        self._progress.write(self._proof.name, part, found, seconds)
        if part is None:
            self._done.control = found
            print(f"{self._proof.name} control: {len(found.failures)} failures in {found.cases}", flush=True)
            return
        self._done.parts.add(part)
        self._done.figures.add(found)
        self._done.seconds += seconds
        total = self._done.figures
        print(
            f"{self._proof.name} {total.cases:,} of {self._wanted:,} {self._proof.unit}, {len(total.failures)} broken"
            f" · part {part}: {seconds:.0f} s",
            flush=True,
        )
        for failure in found.failures[:5]:
            print(f"  BROKEN {failure}", flush=True)


def verdict(proof: Proof, done: Done) -> list[str]:
    """Why the figure does not stand; nothing if it does."""
    wrong = proof.broken(done.figures)
    if done.control is not None and not proof.broken(done.control):
        wrong.append("the control has found nothing: this proves nothing")
    return wrong
