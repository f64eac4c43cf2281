"""A step leaves files open until the process may open no more: its own failure is saved, and the run ends by it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

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
    with closing(sqlite3.connect(scripts.folder / ".perdure" / "state.db")) as connection:
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


FEW = """
import os, resource, sys
from concurrent.futures import ThreadPoolExecutor
from perdure import step, workflow

SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
LEDGER = os.open(os.path.join(os.path.dirname(__file__), "ledger"), os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)
most = 0


def leave(files):
    # From now on, so many more files may be opened.
    first = os.dup(LEDGER)
    os.close(first)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first + files, HARD))


@step(retry=None)
def work(given: tuple[str, int]) -> int:
    os.write(LEDGER, f"{given[0]} {given[1]}\\n".encode())
    return given[1]


@workflow
def called(k: str) -> int:
    return work((k, 0)) + work((k, 1)) + work((k, 2))


@workflow
def mapped(k: str) -> int:
    work((k, -1))
    leave(most)
    return sum(work.map([(k, n) for n in range(3)], concurrency=2, on_failure="raise").results)


@workflow
def threads(k: str) -> int:
    work((k, -1))
    leave(most)
    with ThreadPoolExecutor(3) as pool:
        return sum(pool.map(lambda n: work((k, n)), range(3)))


@workflow
def parent(k: str) -> int:
    work((k, -1))
    leave(most)
    called.enqueue(k + "-queued")
    return called(k)


def both(flow, k):
    # With few files, and then in the same process with many.
    global most
    try:
        first = flow.with_options(id=k)(k)
    except Exception as error:
        first = type(error).__name__
    most = 1_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
    return f"{first} {flow.with_options(id=k)(k)}"


if __name__ == "__main__":
    for name in ("called", "mapped", "threads", "parent"):
        for n in (0, 4, 20) if name == "called" else range(2):
            if os.fork() == 0:
                if name == "called":
                    leave(n)
                most = n
                print(name, both(globals()[name], f"{name}{n}"), flush=True)
                os._exit(0)
            os.wait()
"""


def test_few_files_from_the_start_or_from_the_middle(scripts: Scripts) -> None:
    """A run that can open no more files of perdure's own says so in an error of its own, with a way out, and is let
    go: the same process goes on with it when it may open more, and no step that was done is done again."""
    done = scripts.run(scripts.write(FEW))
    said = [line.split() for line in done.stdout.splitlines()]
    assert {name for name, *_ in said} == {"called", "mapped", "threads", "parent"}, done.stderr
    assert {(first, again) for _, first, again in said} == {("StateIO", "3"), ("3", "3")}, done.stdout
    assert {first for name, first, _ in said if name == "called"} == {"StateIO", "3"}
    steps = (scripts.folder / "ledger").read_text(encoding="utf-8").splitlines()
    assert len(steps) == len(set(steps))


PROGRAM = """
import asyncio, resource, sys
import perdure
from perdure import step, workflow
from perdure.aio import sh as ash

HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
kept = []


def use_up():
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, HARD))
    while True:
        try:
            kept.append(open("/dev/null"))
        except OSError:
            return


@step(retry=None)
def runs():
    perdure.sh(["true"])
    use_up()
    perdure.sh(["true"])


@step(retry=None)
def loads():
    use_up()
    import perdure.failures


@step(retry=None)
def opens():
    use_up()
    open("/etc/passwd")


@step(retry=None)
async def aruns():
    use_up()
    await ash(["true"])


@workflow
def plain(name):
    globals()[name]()


@workflow
def asks():
    sys.modules.pop("perdure.api.wait_any", None)  # which is loaded already where the process began warm
    vars(perdure).pop("wait_any", None)
    use_up()
    perdure.wait_any


@workflow
async def awaited():
    await aruns()


if __name__ == "__main__":
    if sys.argv[1] == "awaited":
        asyncio.run(awaited())
    elif sys.argv[1] == "asks":
        asks()
    else:
        plain(sys.argv[1])
"""


@pytest.mark.parametrize("name", ["runs", "awaited", "loads", "opens"])
def test_what_cannot_be_opened_says_what_to_do(scripts: Scripts, name: str) -> None:
    """A program that is started, a module of perdure's that is used for the first time, a file of the step's own: the
    step fails with the system's own error, which a handler of the user's sees, and with the way out: how many
    files the process may have, and how to raise that. So it stands in the file, for `perdure show`."""
    done = scripts.run(scripts.write(PROGRAM), name)
    assert done.returncode == 1
    assert "Too many open files" in done.stderr
    assert "no more files may be opened, of which the process may have 80" in done.stderr
    assert done.stderr.count("ulimit -n") == 1, done.stderr
    assert status_of(scripts) == "failed"


def test_a_workflow_that_uses_a_module_of_perdure_for_the_first_time_is_stopped(scripts: Scripts) -> None:
    """As by any other error of perdure's own files: it has not failed, and goes on when more files may be opened."""
    done = scripts.run(scripts.write(PROGRAM), "asks")
    assert done.returncode == 1
    assert "StateIO: no more files may be opened, of which the process may have 80" in done.stderr
    assert status_of(scripts) == "running"
