"""Simulations of the core, each from a number: any workflow, deaths, edits, any order of branches; and what holds."""

from __future__ import annotations

import hashlib
import random
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from shapes import KINDS, NOTHING, STEPS, Child, Do, Gather, Handle, Map, Node, Reraise, Sequence, _Namer
from simulated import Process
from simulated_disk import Crash, Disk, World

from perdure.core.exceptions import to_fault
from perdure.core.execution import drift
from perdure.core.execution.history import History, Tries
from perdure.core.execution.run import Ended
from perdure.errors import Drift, StopRun


class Traced(Process):
    """A process that writes down who did what in which order."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.trace: list[str] = []

    def serve(self, branch: Any, asked: Any, history: Any) -> None:
        call = getattr(asked, "call", None)
        what = f"{call.spec.name}{call.args}" if call is not None else ""
        self.trace.append(f"{self.branches.index(branch)} {type(asked).__name__} {what}")
        super().serve(branch, asked, history)


class Lives:
    """Processes one after the other on one disk. `schedule` names what they did, and in which order."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.world = World()
        self._digest = hashlib.blake2b(digest_size=8)

    @property
    def schedule(self) -> str:
        """Differs if anything was done in another order."""
        return self._digest.hexdigest()

    def live(self, shape: Node, seed: int, dies: tuple[int, bool] | None) -> Any:
        """One process; raises Crash if it dies."""
        process = Traced(self.disk, self.world, seed, dies)
        try:
            return process.run(shape)
        except StopRun as stop:
            raise stop.error from None
        finally:
            self._digest.update("\n".join([*process.trace, ""]).encode())

    def outcome(self, shape: Node, deaths: list[tuple[int, bool]], seed: int) -> tuple[Any, ...]:
        """How the run ends after all these deaths."""
        for place, dies in enumerate([*deaths, None]):
            with suppress(Crash):
                end = self.live(shape, seed + place, dies)
                return ("done", end.value) if isinstance(end, Ended) else ("failed", type(end.error), end.error.args)
        raise AssertionError("the last process cannot die")

    def completed(self) -> dict[Any, Any]:
        """Which records are there; which items of a batch that raises are done is left to chance."""
        return {
            identity: kept
            for identity, kept in self.disk.records().items()
            if kept[0] != "failed" and not identity[1].startswith(("m ", "n "))
        }


def any_tree(chance: random.Random) -> Node:
    """Any workflow, as `shapes.TREES` makes them up."""
    left = [chance.choice((2, 4, 8, 12))]

    def leaf() -> Node:
        left[0] -= 1
        if chance.random() < 0.7:
            return Do(chance.choice(STEPS), chance.randrange(KINDS))
        items = tuple(chance.randrange(KINDS) for _ in range(chance.randrange(6)))
        return Map(chance.choice("mn"), items, chance.random() < 0.5, chance.random() < 0.5, chance.randint(1, 3))

    def node(depth: int) -> Node:
        if depth == 0 or left[0] <= 1 or chance.random() < 0.2:
            return leaf()
        parts = tuple(node(depth - 1) for _ in range(chance.randint(2, 4)))
        match chance.choice("sgghrc"):
            case "s":
                return Sequence(parts)
            case "g":
                return Gather(parts)
            case "h":
                return Handle(parts[0], chance.choice((parts[1], NOTHING)))
            case "r":
                return Reraise(parts[0], Do(chance.choice("ab"), chance.randrange(KINDS)))
        return Child("", chance.randrange(KINDS), parts[0])

    return _Namer().proper(Sequence((node(chance.randint(1, 4)), Do("a", 0))), handled=False, branch=0)


def any_deaths(chance: random.Random) -> list[tuple[int, bool]]:
    """At which effect each process dies, and whether that was done."""
    return [(chance.randint(1, 50), chance.random() < 0.5) for _ in range(chance.randrange(6))]


def same_outcome(chance: random.Random) -> Lives:
    """Die anywhere, any number of times; fail, be repaired, and die again: as the run that nothing interrupts."""
    shape, seed = any_tree(chance), chance.getrandbits(32)
    calm, rough = Lives(), Lives()
    expected = calm.outcome(shape, [], 0)
    assert rough.outcome(shape, any_deaths(chance), seed) == expected, "another outcome"
    if expected[0] == "failed":
        calm.world.repaired = rough.world.repaired = True
        expected = calm.outcome(shape, [], 1)
        assert rough.outcome(shape, any_deaths(chance), seed + 100) == expected, "another outcome after a repair"
    assert expected[0] == "done", "it does not end"
    assert rough.completed() == calm.completed(), "other records"
    return rough


def same_again(chance: random.Random) -> Lives:
    """The same number, the same schedule: a simulation can be looked at again."""
    number = chance.getrandbits(64)
    first, second = (same_outcome(random.Random(number)) for _ in range(2))
    assert first.schedule == second.schedule, "a replay takes another way"
    return second


def _steps(chance: random.Random) -> list[list[Do]]:
    names = [[chance.choice("abf") for _ in range(chance.randint(1, 6))] for _ in range(chance.randint(1, 3))]
    return [[Do(f"{name}{x}.{y}", y % 3) for y, name in enumerate(branch)] for x, branch in enumerate(names)]


def _program(steps: list[list[Do]]) -> Node:
    return Sequence((Gather(tuple(Sequence(tuple(branch)) for branch in steps)), Do("h", 0)))


def _part_of(shape: Node, chance: random.Random) -> Lives:
    """What a process left that died, or came as far as a step that fails; that step is repaired now."""
    lives = Lives()
    with suppress(Crash):
        lives.live(shape, chance.getrandbits(32), (chance.randint(3, 40), False))
    lives.world.repaired = True
    return lives


def edited(chance: random.Random) -> Lives:
    """Insert, remove and move steps within and between branches: as if the edited script had run from the beginning."""
    steps = _steps(chance)
    lives = _part_of(_program(steps), chance)
    after = [list(branch) for branch in steps]
    for number in range(chance.randrange(5)):
        source, target = chance.choice(after), chance.choice(after)
        edit = chance.choice(("insert", "remove", "move"))
        taken = Do(f"new{number}", 0)
        if edit != "insert" and source:
            taken = source.pop(chance.randrange(len(source)))
        if edit != "remove":
            target.insert(chance.randint(0, len(target)), taken)
    afresh = Lives()
    afresh.world.repaired = True
    expected = afresh.outcome(_program(after), [], 0)
    deaths = any_deaths(chance)[:2]
    assert lives.outcome(_program(after), deaths, chance.getrandbits(32)) == expected, (
        "not what the edited script gives"
    )
    return lives


def other_inputs(chance: random.Random) -> Lives:
    """A completed step that is called with other inputs stops the run before anything is executed."""
    steps = _steps(chance)
    lives = _part_of(_program(steps), chance)
    done = sorted({name for (_, name, _, _) in lives.completed()})
    if not done:
        return lives
    changed = chance.choice(done)
    after = [[step._replace(argument=7) if step.name == changed else step for step in branch] for branch in steps]
    before = lives.world.executed.total()
    blamed = ""
    try:
        lives.outcome(_program(after), [], chance.getrandbits(32))
    except Drift as drift:
        blamed = str(drift)
    assert blamed, "other inputs go unnoticed"
    assert f"{changed}(7)" in blamed, "another step is blamed"
    assert lives.world.executed.total() == before, "something was executed before the drift"
    return lives


KINDS_OF_CASES = (*[same_outcome] * 6, *[edited] * 2, other_inputs, same_again)


def case(name: str) -> tuple[str, Lives | None, str]:
    """The simulation of that name: of which kind it is, what was lived, and what does not hold (empty: all does)."""
    chance = random.Random(name)
    kind = chance.choice(KINDS_OF_CASES)
    try:
        return kind.__name__, kind(chance), ""
    except Exception as error:
        return kind.__name__, None, f"{type(error).__name__}: {str(error)[:300]}"


def campaign(seed: str, cases: int) -> tuple[Counter[str], set[str], list[str]]:
    """So many simulations: how many of each kind, the names of the schedules, and what does not hold."""
    kinds: Counter[str] = Counter()
    schedules: set[str] = set()
    failures = []
    # What a saved exception says is no matter of the core, and takes most of the time.
    with (
        patch.object(to_fault._Recorder, "_traceback", lambda self, exc: ""),
        patch.object(to_fault._Recorder, "__init__", _plainly),
    ):
        for number in range(cases):
            kind, lives, wrong = case(f"{seed} {number}")
            kinds[kind] += 1
            if lives is not None:
                schedules.add(lives.schedule)
            if wrong:
                failures.append(f"simulation {number} of {seed}, {kind}: {wrong}")
    return kinds, schedules, failures


def _plainly(self: Any, hide: Any) -> None:
    self._hide, self._left, self._seen = str, 100, set()


def _settles_nothing(call: Any, history: Any) -> Generator[Any, Any, None]:
    return None
    yield


BROKEN: dict[str, tuple[Any, str, Any]] = {
    "drift is not looked for": (drift, "settle", _settles_nothing),
    "no call waits for the others": (History, "unsettled", lambda self, *_: False),
    "attempts of earlier processes do not count": (History, "tries", lambda self, call: Tries()),
    "no call finds its record": (History, "claim", lambda self, call: None),
    "what comes twice is the same": (History, "_new_occurrence", lambda self, step, key: 0),
}
"""Rules of the core, each broken: every one of them has to be found."""
