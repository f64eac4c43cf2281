"""Several processes want the same run at the same moment: one has it, nothing is done twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from . import ledger
from .cases import Ground
from .kill import Kill
from .shape import CONTROLS, SHAPES, Shape
from .victim import Home, Nursery

CONTENDERS = 4
ROUNDS = 5


@pytest.fixture(scope="module")
def nurseries() -> Iterator[list[Nursery]]:
    """One for each contender: a nursery raises one victim at a time."""
    with ExitStack() as stack:
        yield [stack.enter_context(Nursery()) for _ in range(CONTENDERS)]


def contend(nurseries: list[Nursery], shape: Shape, folder: Path, killed: Kill) -> list[str]:
    """What went wrong when all contenders started at once on a new state file, the first of them to be killed."""
    homes = [Home(folder / f"contender{number}") for number in range(CONTENDERS)]
    for home in homes:
        home.install(shape.files[0])
        home.state, home.ledger = folder / "state.db", folder / "ledger.jsonl"
    start = threading.Barrier(CONTENDERS)

    def life(number: int) -> int:
        start.wait()
        return nurseries[number].live(homes[number], number, killed if number == 0 else Kill()).status

    with ThreadPoolExecutor(CONTENDERS) as pool:
        statuses = list(pool.map(life, range(CONTENDERS)))
    wrong = [f"contender {n}: {status}" for n, status in enumerate(statuses) if status not in (0, -9)]
    if wrong:
        return [*wrong, *(home.said() for home in homes)]
    # Whoever comes last finds a run that is done, or one to be finished.
    statuses.append(nurseries[0].live(homes[0], CONTENDERS, Kill()).status)
    lines = ledger.read(homes[0].ledger)
    keys = {line.key for line in lines if line.what == "ran"}
    runs = Counter(line.item for line in lines if line.what == "ran")
    again = {item: count for item, count in runs.items() if count > 1}
    ends = [line.value for line in lines if line.what == "end"]
    if statuses[-1] != 0 or len(set(ends)) != 1 or len(keys) != len(runs):
        return [f"statuses {statuses}, ends {ends}, {len(keys)} keys for {len(runs)} calls"]
    # The one that was killed had one step in flight.
    return [f"again: {again}"] if sum(again.values()) - len(again) > (killed.kind != "none") else []


@pytest.mark.parametrize("killed", [Kill(), Kill("point", at=5)], ids=["all-live", "one-killed"])
def test_one_run_whoever_starts_it(nurseries: list[Nursery], tmp_path: Path, killed: Kill) -> None:
    """Nobody fails: the others are skipped, or given the result, or go on for the one that was killed."""
    wrong = [contend(nurseries, SHAPES["named"], tmp_path / str(number), killed) for number in range(ROUNDS)]
    assert not any(wrong), "\n".join(line for found in wrong for line in found)


def test_control_without_locks_a_run_is_run_twice(nurseries: list[Nursery], ground: Ground, tmp_path: Path) -> None:
    """The same contention finds it when the lock is not one."""
    shape = CONTROLS["control_unlocked"]
    ground.reference(shape)
    assert any(contend(nurseries, shape, tmp_path / str(number), Kill()) for number in range(4 * ROUNDS))
