"""Power cuts: record one run, cut it at many points, and let the workload go on from what the disk kept."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from . import ledger, oracle, trial
from .disk import Disk
from .kill import Kill
from .oracle import Reference
from .shape import Shape
from .trial import Outcome
from .victim import INSIDE, Home, Nursery


def record(nursery: Nursery, shape: Shape, folder: Path, *, script: Path | None = None) -> list[tuple[Any, ...]]:
    """Run the shape once under the recorder; return what its disk was told to do."""
    home = Home(folder)
    home.install(script or shape.files[-1])
    recording = home.folder / "recording"
    argv = [str(INSIDE / "recorder.py"), str(home.script)]
    death = nursery.live(home, 0, Kill(), argv=argv, env={"CRASH_RECORD": str(recording)})
    if death.status != 0:
        raise AssertionError(f"{shape.name}, recorded, ended with status {death.status}:\n{home.said()}")
    return [tuple(event) for event in msgspec.msgpack.decode(recording.read_bytes())]


def images(
    events: list[tuple[Any, ...]], rng: random.Random, count: int, *, honest: bool = True
) -> Iterator[tuple[int, dict[str, bytes], list[bytes]]]:
    """What `count` power cuts would leave: after which event, the files, and the lines said until then."""
    disk = Disk(honest=honest)
    points = sorted(rng.randint(1, len(events)) for _ in range(count))
    for done, event in enumerate(events, start=1):
        disk.follow(event)
        while points and points[0] == done:
            points.pop(0)
            yield done, {name: left.content() for name, left in disk.cut(rng).items()}, list(disk.said)


def cut(
    nursery: Nursery,
    shape: Shape,
    expected: Reference,
    folder: Path,
    rng: random.Random,
    count: int,
    *,
    honest: bool = True,
) -> Outcome:
    """Cut the power `count` times in one recorded run; after each, start on what the disk kept, and judge.

    Args:
        nursery: where victims come from.
        shape: the workload; of an edited one, the last version.
        expected: what the uninterrupted run came to.
        folder: to work in.
        rng: decides the points and what survives.
        count: how many cuts.
        honest: False for the control, a disk that acknowledges syncs without doing them.
    """
    total = Outcome()
    events = record(nursery, shape, folder / "recorded")
    for number, (at, files, said) in enumerate(images(events, rng, count, honest=honest)):
        home = Home(folder / f"cut{number}")
        for name, content in files.items():
            (home.folder / name).write_bytes(content)
        home.ledger.write_bytes(b"".join(said))
        outcome = after(nursery, shape, expected, home)
        if outcome.violations and not total.violations:
            outcome.said = f"cut after event {at} of {len(events)}, files {sorted(files)}\n{home.said()}"
        total.add(outcome)
        total.kills["power"] += 1
        shutil.rmtree(home.folder, ignore_errors=True)
    return total


def after(nursery: Nursery, shape: Shape, expected: Reference, home: Home) -> Outcome:
    """Power is back: is the file sound, and does the workload go on from it?"""
    outcome = Outcome(violations=trial.unreadable(home.state, home.folder / "copy"))
    lines = ledger.read(home.ledger)
    if oracle.complete(lines, expected) and not shape.named:
        return outcome
    last = dataclasses.replace(shape, editions=shape.editions[-1:])
    resumed = trial.chain(nursery, last, expected, home, [], first_life=1)
    outcome.add(resumed)
    return outcome
