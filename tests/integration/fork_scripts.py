"""Scripts whose runs are re-driven, forked and cancelled, and the shop that runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conftest import Scripts

HEAD = """
import os, sys
import perdure
from perdure import defer, idempotency_key, step, workflow

def note(line):
    with open("ledger", "a") as file:
        file.write(f"{line}\\n")
"""

ETL = (
    HEAD
    + """
@step(retry=None)
def parse(x: int) -> int:
    if x % 2 == 0 and not os.path.exists("fixed"):
        raise ValueError(f"bad {x}")
    note(f"parse {x}")
    return x * 10

@step
def log(text: str) -> None:
    note(f"log {text}")

@step
def load(rows: list[int]) -> int:
    note(f"load {rows}")
    return len(rows)

@step(retry=None)
def last() -> None:
    note("last")
    if os.path.exists("die"):
        os._exit(9)

def body() -> int:
    rows = list(parse.map([1, 2, 3, 4]).results)
    log("parsed")
    count = load(rows)
    last()
    return count

@workflow
def etl() -> int:
    return body()

@workflow
def inner() -> int:
    return body()

@workflow
def outer() -> str:
    count = inner()
    log(f"count {count}")
    return f"{count}"

@step(retry=None, on_failure="dead_letter")
def single(x: int) -> int:
    if not os.path.exists("fixed"):
        raise ValueError("bad")
    return x

@workflow
def one() -> str:
    found = single(5)
    log(f"{found}" if isinstance(found, int) else "dead")
    return f"{found}" if isinstance(found, int) else "dead"

if __name__ == "__main__":
    print(globals()[sys.argv[1]]())
"""
)

SAGA = (
    HEAD
    + """
@step
def restart(name: str) -> None:
    note(f"undo {name}")

@step
def remove(name: str) -> None:
    note(f"remove {name}")

@step(undo=restart)
def stop(name: str) -> str:
    note(f"stop {name}")
    return name

@step(retry=None)
def dump() -> int:
    note("dump")
    return 1

@step(retry=None)
def restore(n: int) -> str:
    note("restore")
    if os.path.exists("die"):
        os._exit(9)
    if os.path.exists("fail"):
        raise ValueError("no")
    return "restored"

@workflow
def migrate() -> str:
    stop("a")
    defer(remove, "folder")
    n = dump()
    stop("b")
    defer(remove, "late")
    return restore(n)

if __name__ == "__main__":
    print(migrate())
"""
)


class Shop:
    """A folder with a script, the commands, and the ledger that its steps write."""

    def __init__(self, scripts: Scripts, text: str) -> None:
        self.scripts = scripts
        self.script = scripts.write(text)
        self.starter = scripts.write("from perdure.cli import main\nimport sys\nsys.exit(main())\n", "command.py")
        self.said = ""

    def run(self, *args: str) -> int:
        done = self.scripts.run(self.script, *args)
        self.said = done.stdout + done.stderr
        return done.returncode

    def __call__(self, *args: str) -> int:
        done = self.scripts.run(self.starter, *args)
        self.said = done.stdout + done.stderr
        return done.returncode

    def json(self, *args: str) -> Any:
        done = self.scripts.run(self.starter, *args, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def runs(self) -> list[Any]:
        found: list[Any] = self.json("ps")["runs"]
        return found

    def file(self, name: str) -> Path:
        return self.scripts.folder / name

    def ledger(self) -> list[str]:
        """What was done since the last time."""
        path = self.file("ledger")
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines
