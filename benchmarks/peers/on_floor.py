"""The raw floor: apsw, one INSERT and one COMMIT a step at WAL + synchronous=FULL, and nothing else.

The row has the shape and the bytes of the one that perdure writes, without its CHECKs. No digest, no encoding, no
policy, no workflow: what remains is SQLite and the device.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import apsw
from harness import Clock, die, report, report_last_step, small, state_folder

TABLE = """
CREATE TABLE step (
    run INTEGER NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL, key BLOB NOT NULL, n INTEGER NOT NULL,
    status TEXT NOT NULL, input BLOB NOT NULL, output BLOB NOT NULL, started REAL NOT NULL, ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID
"""
INSERT = "INSERT INTO step VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
KEY = bytes(range(16))
INPUT = b"\x91\xcd\x03\xe8"


class Floor:
    """An open table, and the one statement."""

    def __init__(self, path: Path) -> None:
        self.connection = apsw.Connection(str(path))
        self.connection.pragma("journal_mode", "wal")
        self.connection.pragma("synchronous", 2)
        if (self.connection.pragma("journal_mode"), self.connection.pragma("synchronous")) != ("wal", 2):
            raise SystemExit("the floor does not run at WAL + FULL")
        self._execute = self.connection.execute

    def create(self) -> None:
        """Creates the table, and warms up with one row."""
        self._execute(TABLE)
        self._insert(0, 0, "warm", 1)

    def step(self, i: int) -> None:
        """One step: one row, one commit."""
        self._insert(1, i, "work", small(i))

    def _insert(self, run: int, i: int, name: str, output: int) -> None:
        row = (run, i, name, KEY, 0, "done", INPUT, bytes((output,)), time.time(), 1, 1, 3_000_000_000)
        self._execute(INSERT, row)


def main(task: str, steps: int) -> None:
    """Does one task of the runner's."""
    floor = Floor(state_folder() / "floor.db")
    if task == "resume":
        rows = floor.connection.execute("SELECT * FROM step WHERE run = 1").fetchall()
        if len(rows) != steps:
            raise SystemExit(f"{len(rows)} rows to resume from instead of {steps}")
        floor.step(steps)
        report_last_step()
    floor.create()
    if task == "sequential-small-wal":
        # For comparison: a log that is written back early stops growing, and a commit that does not grow its file is
        # cheaper on a journalling file system. SQLite's default is 1,000 pages.
        floor.connection.pragma("wal_autocheckpoint", 250)
    clock = Clock()
    began = time.perf_counter()
    for i in range(steps):
        floor.step(i)
        clock.stamps.append(time.perf_counter())
    seconds = time.perf_counter() - began
    if task == "fill":
        die()
    report(**clock.facts(seconds))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
