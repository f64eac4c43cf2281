"""What steps say in processes of their own reaches their run, as if they were made in this one."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

import perdure
from conftest import Machine
from perdure import step, workflow
from perdure.engines.processes.messages import NOTE, read_frame
from perdure.engines.processes.orderer import Orderer
from perdure.errors import ProcessDied
from perdure.operations.run_log import LogView, log_of
from perdure.operations.show import details_of

log = logging.getLogger("lines.of.other.processes")
SECRET = "token=" + "ghp_" + "c3D4" * 9


@step(name="oth-talk", isolate=True, retry=None)
def talk(ending: str) -> int:
    print("said", SECRET)
    print("to stderr", file=sys.stderr)
    log.info("informed of %s", ending)
    log.debug("nobody's business")
    perdure.progress(2, 4, "half")
    perdure.set_progress(3, 7, "of the run")
    perdure.publish("colour", "blue")
    thread = threading.Thread(target=print, args=("of a thread",))
    thread.start()
    thread.join()
    if ending == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


@step(name="oth-item")
def item(n: int) -> int:
    print("item", n)
    return os.getpid()


@step(name="oth-many", isolate=True)
def many() -> None:
    for number in range(300):
        print(f"{number:03d} " + "x" * 1_000)


@step(name="oth-async", isolate=True)
async def alone() -> None:
    print("from a coroutine")


@workflow(name="oth-talking")
def talking(ending: str) -> int:
    return talk(ending)


@workflow(name="oth-map")
def over_processes() -> list[int | None]:
    return item.map(range(4), processes=2).results


@workflow(name="oth-manying")
async def both() -> None:
    await alone()
    many()


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The messages that arrive at a handler of this process, as `basicConfig` makes one."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(f"{record.levelname} {record.getMessage()} {record.funcName}")

    handler, level = Handler(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield found
    log.removeHandler(handler)
    log.setLevel(level)


def lines(machine: Machine) -> list[LogView]:
    return log_of(machine.engine.store, machine.engine.store.runs()[0])


@pytest.mark.parametrize("ending", ["well", "killed"])
def test_what_an_isolated_step_says(
    machine: Machine, capfd: pytest.CaptureFixture[str], heard: list[str], ending: str
) -> None:
    """Its lines are its attempt's and stand on the terminal once, logged ones by handlers and levels of this process;
    what it publishes is its run's. All that holds for a process that is killed, and no credential is kept."""
    if ending == "well":
        assert talking(ending) != os.getpid()
    else:
        with pytest.raises(ProcessDied):
            talking(ending)
    found = [(one.step, one.attempt, one.level, one.logger) for one in lines(machine)]
    assert found == [
        ("oth-talk", 1, "", "stdout"),
        ("oth-talk", 1, "", "stderr"),
        ("oth-talk", 1, "INFO", "lines.of.other.processes"),
    ]
    assert not any("c3D4" in one.text for one in lines(machine))
    assert heard == [f"INFO informed of {ending} talk"]
    if ending == "well":  # streams that Python buffers die with a process
        out, err = capfd.readouterr()
        assert (out.count("said"), err.count("to stderr"), err.count("informed")) == (1, 1, 0)
    shown = details_of(machine.engine.store, machine.engine.store.runs()[0])
    assert shown.progress is not None
    assert (shown.progress.done, shown.progress.total, shown.progress.note) == (3, 7, "of the run")
    assert shown.published == {"colour": "'blue'"}


def test_items_of_a_map_in_processes_and_async_steps(machine: Machine) -> None:
    """Each line is that of its item. Of an attempt that says much, the first lines and the last ones are kept."""
    assert len(set(over_processes()) - {os.getpid()}) <= 2
    assert sorted(one.text for one in lines(machine)) == [f"item {n}" for n in range(4)]
    asyncio.run(both())
    said = [one.text for one in lines(machine)]
    assert said[0] == "from a coroutine"
    assert (said[1][:3], said[-1][:3]) == ("000", "299")
    assert any("are left out" in one for one in said)
    assert sum(map(len, said)) < 70_000


def test_nothing_is_said_after_the_answer_nor_by_a_copy() -> None:
    """A thread that an attempt leaves behind, and a process that it has forked, do not come between the frames."""
    ours, theirs = socket.socketpair()
    orderer = Orderer(theirs, publishes=True)
    orderer.add("", "stdout", "heard")
    orderer._process += 1  # as a copy of the process sees it
    orderer.add("", "stdout", "of a copy")
    orderer._process -= 1
    orderer.end()
    orderer.add("", "stdout", "late")
    theirs.close()
    first = read_frame(ours)
    assert first is not None
    assert bytes(first[:1]) == NOTE
    assert b"heard" in first
    assert read_frame(ours) is None
    ours.close()
