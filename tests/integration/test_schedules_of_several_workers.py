"""T9: however many processes keep the clock of one state file, and whichever of them die, each tick is made once."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import warm
from perdure.store import schedules
from perdure.store.runs import Store

TICKER = Path(__file__).with_name("schedule_ticker.py")
START, SECONDS = 1_796_000_000, 50
PERIODS = {"every": 1, "second": 2, "third": 3}


def declare(state: Path) -> None:
    store = Store(state)
    for name, period in PERIODS.items():
        row = schedules.Declaration(
            *(name, "jobs.py", "/jobs.py", name, f"every {period}s", "UTC", "allow", "one", 86400.0, 0.0, None),
            *(bytes(16), b"\x92\x90\x80", "script"),
        )
        schedules.declare(store, row, float(START))
    store.close()


@contextmanager
def tickers(state: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that begin at the same time."""
    command = [sys.executable, str(TICKER), str(state), str(START), str(START + SECONDS)]
    made = [warm.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(count)]
    try:
        for one in made:
            assert one.stdout is not None
            assert one.stdin is not None
            assert one.stdout.readline() == "ready\n"
        for one in made:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        yield made
    finally:
        for one in made:
            one.kill()
            one.wait()
            for stream in (one.stdin, one.stdout):
                assert stream is not None
                stream.close()


def told(state: Path) -> dict[str, list[int]]:
    """By another program: for each schedule, every tick that has a run of its id, or a reason."""
    found: dict[str, list[int]] = {name: [] for name in PERIODS}
    with sqlite3.connect(state) as connection:
        connection.execute("BEGIN")  # both questions are about one moment
        rows = connection.execute(
            "SELECT t.schedule, t.due, t.last, t.ticks, t.outcome, t.reason, r.id "
            "FROM tick t LEFT JOIN run r ON r.rid = t.run"
        ).fetchall()
        runs = {id for (id,) in connection.execute("SELECT id FROM run")}
    connection.close()
    named = set()
    for name, due, last, count, outcome, reason, id in rows:
        ticks = list(range(int(due), int(last) + 1, PERIODS[name]))
        assert len(ticks) == count
        assert (outcome == "skipped") == (reason is not None) == (id is None)
        named |= {id} - {None}
        found[name] += ticks
    assert named == runs, "a run without its tick"
    return {name: sorted(ticks) for name, ticks in found.items()}


def calendar() -> dict[str, list[int]]:
    """The ticks that there are, by an independent calendar."""
    return {
        name: [second for second in range(START + 1, START + SECONDS + 1) if second % period == 0]
        for name, period in PERIODS.items()
    }


def test_each_tick_is_made_once_by_three_clocks_one_of_which_is_killed(tmp_path: Path) -> None:
    """Three processes go through the same seconds, two are killed on the way: each tick has one run or one reason."""
    state = tmp_path / "state.db"
    declare(state)
    draw = random.Random(9)
    with tickers(state, 3) as (victim, second, last):
        for one in (victim, second):
            while len(told(state)["every"]) < draw.randint(5, 40) and one.poll() is None:
                pass
            one.kill()
        assert last.wait() == 0
    assert told(state) == calendar()


def test_a_tick_without_its_uniqueness_is_seen_by_the_oracle(tmp_path: Path) -> None:
    """The control: a run of no tick, as a clock would leave that makes both in two transactions."""
    state = tmp_path / "state.db"
    declare(state)
    with tickers(state, 1) as (only,):
        assert only.wait() == 0
    with sqlite3.connect(state) as connection:
        connection.execute("DELETE FROM tick WHERE schedule = 'third' AND due = ?", (START + 30 - START % 3,))
    connection.close()
    try:
        seen = told(state) != calendar()
    except AssertionError:
        seen = True
    assert seen
