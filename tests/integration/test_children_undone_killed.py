"""A child run is undone once with its parent, wherever the process is killed: by real deaths between two commits."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure import step, workflow
from perdure.engines.local import engine as local

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")

SEATS = ("own", "a", "deep", "b", "late")
BOOKED = 10
"""Commits after which all seats are booked, and nothing is undone."""


def note(line: str) -> None:
    with (Path(os.environ["SEATS"]) / "ledger").open("a") as file:
        file.write(f"{line}\n")


@step(name="killed-cancel-seat")
def cancel_seat(seat: str) -> None:
    note(f"cancel {seat}")


@step(name="killed-book", undo=cancel_seat)
def book(seat: str) -> str:
    note(f"book {seat}")
    return seat


@step(name="killed-pay", retry=None)
def pay() -> None:
    if not (Path(os.environ["SEATS"]) / "rich").exists():
        raise RuntimeError("no money")


@workflow(name="killed-inner")
def inner() -> None:
    book("deep")


@workflow(name="killed-seats")
def seats() -> int:
    book("a")
    inner()
    book("b")
    return 2


@workflow(name="killed-trip")
def trip() -> int:
    book("own")
    seats()
    book("late")
    pay()
    return len(SEATS)


def life(folder: Path, act: Callable[[], object], kill_at: int = 0) -> int:
    """A process that acts, and is killed after so many commits; returns how it ended, as of waitpid."""
    local.close_all()
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    commits = 0

    def around(entries: object, done: bool) -> None:
        nonlocal commits
        commits += done
        if done and commits == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    status = 1
    try:
        state = folder / "state.db"
        os.environ.update(PERDURE_STATE=str(state), SEATS=str(folder), PERDURE_CRASH_LIMIT="99", PERDURE_QUIET="1")
        journal = local.engine_at(state).store.journal
        journal.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))  # the machine is not killed
        journal.around = around
        act()
        status = 0
    finally:
        os._exit(status)


def call_off() -> None:
    engine = local.engine_at(Path(os.environ["PERDURE_STATE"]))
    (run,) = engine.store.runs()
    engine.call_off(run)


def ledger(folder: Path) -> list[str]:
    return (folder / "ledger").read_text().splitlines()


def booked(folder: Path) -> list[str]:
    """The seats that are booked, in that order; each was booked and cancelled in turn."""
    found: list[str] = []
    for line in ledger(folder):
        what, seat = line.split()
        assert (what == "book") != (seat in found), line  # neither is made twice
        found.append(seat) if what == "book" else found.remove(seat)
    return found


def test_a_kill_loses_and_repeats_no_undo(tmp_path: Path) -> None:
    """All is undone first, and made again, if the run goes on; and it stays undone if it is cancelled."""
    undone = set()
    for kill_at in range(BOOKED, 99):
        folder, other = tmp_path / str(kill_at), tmp_path / f"{kill_at}-cancelled"
        folder.mkdir()
        status = life(folder, trip, kill_at)
        left, before = booked(folder), ledger(folder)
        if not os.WIFSIGNALED(status):
            assert left == []
            break
        undone.add(len(SEATS) - len(left))
        shutil.copytree(folder, other)
        (folder / "rich").touch()
        assert life(folder, trip) == 0
        assert sorted(booked(folder)) == sorted(SEATS)
        later = ledger(folder)[len(before) :]
        if any(line.startswith("cancel") for line in before):  # the rest is undone first, the last one first
            assert later[: len(left)] == [f"cancel {seat}" for seat in reversed(left)]
            assert later[len(left) :] == [f"book {seat}" for seat in SEATS]
        assert life(other, call_off) == 0
        assert booked(other) == []
    assert undone == set(range(len(SEATS) + 1))
