"""A step leaves files open until the process may open no more: its own failure is saved, and the run ends by it."""

from __future__ import annotations

import re
import sqlite3

import pytest

from conftest import Scripts

SCRIPT = """
import asyncio, resource, sys
from perdure import step, workflow

kept = []


def use_up():
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))
    while True:
        kept.append(open("/dev/null"))


@step(retry=None)
def greedy(n):
    if n == 2:
        use_up()
    return n


@step(retry=None)
async def agreedy(n):
    return greedy._spec.fn(n)


@workflow
def called():
    greedy(1)
    greedy(2)


@workflow
def mapped():
    return len(greedy.map(range(5)).dead)


@workflow
async def awaited():
    await agreedy(1)
    await agreedy(2)


@workflow
def between():
    greedy(1)
    use_up()


if __name__ == "__main__":
    name = sys.argv[1]
    print("DEAD", asyncio.run(awaited()) if name == "awaited" else globals()[name]())
"""
ERROR = "OSError: [Errno 24] Too many open files: '/dev/null'"


def status_of(scripts: Scripts) -> str:
    """How the run stands, by the file alone."""
    with sqlite3.connect(scripts.folder / ".perdure" / "state.db") as connection:
        (status,) = connection.execute("SELECT status FROM run").fetchone()
    return str(status)


@pytest.mark.parametrize("name", ["called", "awaited", "between"])
def test_the_run_has_failed_with_the_error_of_the_step(scripts: Scripts, name: str) -> None:
    """It is the first error that is seen, not one of perdure's own files, and the end of the run is in the file."""
    done = scripts.run(scripts.write(SCRIPT), name)
    assert done.returncode == 1
    assert re.findall(r"^\w*Error: .*", done.stderr, re.MULTILINE) == [ERROR], done.stderr
    assert "run the script again to go on from here" in done.stderr
    assert status_of(scripts) == "failed"


def test_an_item_of_a_map_becomes_a_dead_letter(scripts: Scripts) -> None:
    """The others are done."""
    done = scripts.run(scripts.write(SCRIPT), "mapped")
    assert (done.returncode, done.stdout) == (0, "DEAD 1\n"), done.stderr
    assert status_of(scripts) == "done"
