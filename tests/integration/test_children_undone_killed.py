"""A child run is undone once with its parent, wherever the process is killed: by real deaths between two commits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure import step, workflow
from perdure.engines.local import engine as local

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")

SEATS = ("own", "a", "deep", "b", "late")


def note(folder: str, line: str) -> None:
    with (Path(folder) / "ledger").open("a") as file:
        file.write(f"{line}\n")


@step(name="killed-cancel-seat")
def cancel_seat(seat: list[str]) -> None:
    note(seat[0], f"cancel {seat[1]}")


@step(name="killed-book", undo=cancel_seat)
def book(folder: str, seat: str) -> list[str]:
    note(folder, f"book {seat}")
    return [folder, seat]


@step(name="killed-pay", retry=None)
def pay(folder: str) -> None:
    if not (Path(folder) / "rich").exists():
        raise RuntimeError("no money")


@workflow(name="killed-inner")
def inner(folder: str) -> None:
    book(folder, "deep")


@workflow(name="killed-seats")
def seats(folder: str) -> int:
    book(folder, "a")
    inner(folder)
    book(folder, "b")
    return 2


@workflow(name="killed-trip")
def trip(folder: str) -> int:
    book(folder, "own")
    seats(folder)
    book(folder, "late")
    pay(folder)
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

    try:
        os.environ.update(PERDURE_STATE=str(folder / "state.db"), PERDURE_CRASH_LIMIT="99", PERDURE_QUIET="1")
        local.engine_at(folder / "state.db").store.journal.around = around
        act()
    except RuntimeError:
        os._exit(1)
    finally:
        os._exit(0)


def call_off(folder: Path) -> None:
    engine = local.engine_at(folder / "state.db")
    (run,) = engine.store.runs()
    engine.call_off(run)


def booked(folder: Path) -> list[str]:
    """The seats that are booked; each was booked and cancelled in turn."""
    found: list[str] = []
    for line in (folder / "ledger").read_text().splitlines():
        what, seat = line.split()
        assert (what == "book") != (seat in found), line  # neither is made twice
        found.append(seat) if what == "book" else found.remove(seat)
    return found


@pytest.mark.parametrize("after", ["resume", "cancel"])
def test_a_kill_loses_and_repeats_no_undo(tmp_path: Path, after: str) -> None:
    """Whatever was undone is made again if the run goes on, and all is undone if it is cancelled."""
    killed = 0
    for kill_at in range(1, 99):
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        status = life(folder, lambda: trip(str(folder)), kill_at)  # noqa: B023
        if not os.WIFSIGNALED(status):
            assert booked(folder) == []
            break
        killed += 1
        if after == "resume":
            (folder / "rich").touch()
            assert life(folder, lambda: trip(str(folder))) == 0  # noqa: B023
            assert sorted(booked(folder)) == sorted(SEATS)
        elif kill_at > 1:
            assert life(folder, lambda: call_off(folder)) == 0  # noqa: B023
            assert booked(folder) == []
    assert killed >= 20
