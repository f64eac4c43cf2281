"""What outlives a simulated process: its disk, and the world that steps act on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

from shapes import KINDS

from perdure.core.records import Row, RunRecord

ATTEMPTS = 3
Program = Generator[Any, Any, Any]
Identity = tuple[str, str, bytes, int]
"""Run, name, key and occurrence."""


class Crash(BaseException):
    """The process has died."""


class Disk:
    """What survives: runs, their records, the attempts that failed, and which records are exempt from drift."""

    def __init__(self) -> None:
        self.runs: dict[str, RunRecord] = {}
        self.rows: dict[int, dict[int, Row]] = {}
        self.attempts: list[tuple[int, Any]] = []
        self.exempt: dict[int, list[tuple[int, int]]] = {}

    def run_of(self, rid: int) -> str:
        return next(run.id for run in self.runs.values() if run.rid == rid)

    def records(self) -> dict[Identity, tuple[str, bytes, bytes]]:
        """Status, input and result of every record that is there."""
        found: dict[Identity, tuple[str, bytes, bytes]] = {}
        for rid, rows in self.rows.items():
            for _, _, name, key, n, status, given, output, *_ in rows.values():
                identity = (self.run_of(rid), name, key, n)
                assert identity not in found, f"two records of one call: {identity}"
                found[identity] = (status, given, output if status == "done" else b"")
        return found


class World:
    """What is outside, and does not forget: how steps behave (see `shapes.STEPS`), and how often each was executed."""

    def __init__(self) -> None:
        self.repaired = False
        self.executed: Counter[Identity] = Counter()

    def execute(self, identity: Identity, argument: int) -> Any:
        self.executed[identity] += 1
        name = identity[1]
        item, kind = name[0] in "mn", argument % KINDS
        if name == "x" or (name == "h" and not self.repaired) or (item and kind == 3):
            raise ConnectionError(f"{name}({argument}) is broken")
        failures = min(kind, ATTEMPTS - 1) if name[0] == "f" else int(item and kind == 2)
        if self.executed[identity] <= failures:
            raise ConnectionError(f"{name}({argument}) is flaky")
        return [name, argument]
