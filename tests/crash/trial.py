"""One trial: a workload that is killed, resumed, killed again, and judged when it is through."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from . import ledger, oracle
from .kill import Kill
from .oracle import Reference, Violation
from .shape import Shape
from .victim import Death, Home, Nursery

# More than the kills of any trial; a workload that still fails then is not going to end.
MOST_LIVES = 60


@dataclass
class Outcome:
    """What came of a trial."""

    kills: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    again: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    said: str = ""

    def add(self, other: Outcome) -> None:
        """Count another trial in."""
        self.kills += other.kills
        self.resumed += other.resumed
        self.again += other.again
        self.refused += other.refused
        self.violations += other.violations
        self.said = self.said or other.said

    def report(self) -> str:
        """The broken promises, and what the first victim concerned printed."""
        return "\n".join([*map(str, self.violations[:10]), self.said])


def reference(nursery: Nursery, shape: Shape, folder: Path) -> Reference:
    """Run the shape once, undisturbed: each edition in turn, the last of them to its end."""
    home = Home(folder)
    for file in shape.files:
        home.install(file)
        death = nursery.live(home, 0, Kill())
        if (death.status == 0) != (file == shape.files[-1]):
            raise AssertionError(f"{file.name}, undisturbed, ended with status {death.status}:\n{home.said()}")
    if shape.editions:
        # What only the older versions did is not part of the result: count the calls of the last one alone.
        home = Home(folder / "last")
        home.install(shape.files[-1])
        nursery.live(home, 0, Kill())
    return Reference.of(ledger.read(home.ledger))


_measured: dict[str, tuple[Reference, int]] = {}


def measured(nursery: Nursery, shape: Shape, folder: Path) -> tuple[Reference, int]:
    """What the shape comes to undisturbed, and how many lines it says: the same each time, so a process asks once."""
    if shape.name not in _measured:
        expected = reference(nursery, shape, folder)
        _measured[shape.name] = expected, len(ledger.read(folder / "ledger.jsonl"))
    return _measured[shape.name]


def chain(
    nursery: Nursery, shape: Shape, expected: Reference, home: Home, kills: list[Kill], *, first_life: int = 0
) -> Outcome:
    """Kill the lives of one workload as told, then let it go on undisturbed to its end; judge.

    An edited shape is redeployed half way through the kills, or when its old edition has come to its error.
    """
    outcome = Outcome()
    pending = list(kills)
    files = list(shape.files)
    home.install(files[0])
    for life in range(first_life, MOST_LIVES):
        if len(files) > 1 and not shape.patient and len(pending) <= len(kills) // 2:
            files = files[1:]
            home.install(files[0])
        kill = pending.pop(0) if pending else Kill()
        death = nursery.live(home, life, kill)
        outcome.resumed += life > 0
        if death.killed:
            outcome.kills[kill.kind] += 1
            outcome.violations += unreadable(home.state, home.folder / "copy")
        elif len(files) > 1:
            pending = pending[: len(kills) // 2]
            files = files[1:]
            home.install(files[0])
            continue
        elif death.status != 0:
            outcome.violations.append(_unexpected(death, life, kill))
        lines = ledger.read(home.ledger)
        over = oracle.complete(lines, expected) and not shape.named
        if not death.killed or over:
            return _judged(outcome, lines, shape, expected, home, ended=not death.killed)
    outcome.violations.append(Violation("hung", f"not through after {MOST_LIVES} lives"))
    return outcome


def tear(state: Path) -> None:
    """Zeros in the place of the first page of the steps, as a write may leave that never came to the disk."""
    connection = apsw.Connection(str(state))
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'step'").fetchone()[0]
    size = connection.pragma("page_size")
    connection.close()
    with state.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))


def unreadable(state: Path, scratch: Path) -> list[Violation]:
    """What is wrong with a state file that a dead process left. Found on a copy: opening it would already repair it."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    if not state.exists():
        return []
    for name in (state.name, f"{state.name}-wal"):
        if (state.parent / name).exists():
            shutil.copy(state.parent / name, scratch / name)
    try:
        connection = apsw.Connection(str(scratch / state.name))
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
            found += [f"foreign key {row}" for row in connection.execute("PRAGMA foreign_key_check")]
        finally:
            connection.close()
    except apsw.Error as error:
        found = [f"{type(error).__name__}: {error}"]
    return [] if found == ["ok"] else [Violation("unreadable", "; ".join(found)[:500])]


def _unexpected(death: Death, life: int, kill: Kill) -> Violation:
    if death.hung:
        return Violation("hung", f"life {life} ({kill}) did not end")
    return Violation("died", f"life {life} ({kill}) ended with status {death.status}")


def _judged(
    outcome: Outcome, lines: list[ledger.Line], shape: Shape, expected: Reference, home: Home, *, ended: bool
) -> Outcome:
    outcome.violations += oracle.judge(lines, shape, expected, ended=ended)
    outcome.violations += unreadable(home.state, home.folder / "copy")
    outcome.again += oracle.executed_again(lines)
    if outcome.violations:
        outcome.said = home.said()
    return outcome
