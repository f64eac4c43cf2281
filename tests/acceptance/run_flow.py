"""A script for the tests of `perdure run`, and the command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import warm
from looking import looked, only_looks

SOURCE = Path(__file__).parents[2] / "src"
FLOW = '''
import enum, os, sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Literal
import msgspec
from perdure import Retry, step, workflow

class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"

@dataclass
class Customer:
    name: str
    age: int = 30

class Point(msgspec.Struct):
    x: int

@step
def first(day: str) -> str:
    with open("ledger", "a") as ledger:
        ledger.write(f"first {day}\\n")
    return day

@step(retry=None)
def second(day: str) -> str:
    if not os.path.exists("repaired"):
        raise RuntimeError("the bank said no")
    return f"{day} done"

@workflow
def fragile(day: str) -> str:
    """Two steps, of which the second fails until it is repaired."""
    return second(first(day))

@workflow
async def typed(
    day: date, amount: Decimal, files: list[Path], /, *, colour: Colour = Colour.RED, dry: bool = False,
    mode: Literal["fast", "slow"] = "slow", customer: Customer | None = None, at: Point | None = None, id: int = 0,
) -> str:
    """Take everything.

    Args:
        day: the day to be charged.
    """
    return repr((day, amount, files, colour, dry, mode, customer, at, id))

@step(retry=None)
def picky(n: int) -> int:
    print("looking at", n)
    if n == 2:
        raise ValueError("two is bad")
    return n

@workflow
def batch() -> int:
    return len(picky.map(range(4)).results)

@workflow
def refused() -> object:
    return bad()

@step
def bad() -> object:
    return object()

if __name__ == "__main__":
    fragile("today")
'''


def perdure(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    if only_looks(args):
        return looked(folder, *args, **env)
    return python(folder, "-m", "perdure", *args, **env)


def python(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A process of Python in that folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "WORKFLOW_"))}
    return warm.run(
        [sys.executable, *args],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(SOURCE), **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def with_flow(folder: Path) -> Path:
    """The folder, with the script in it."""
    (folder / "flow.py").write_text(FLOW)
    return folder
