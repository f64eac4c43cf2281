"""The harness itself, on plain SQLite: it finds nothing where there is nothing, and finds what there is."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import apsw
import pytest

from . import power
from .cases import Ground
from .disk import Disk
from .kill import Kill
from .ledger import Line
from .oracle import Reference, judge
from .shape import CONTROLS, SHAPES, Shape
from .trial import Outcome
from .victim import Death, Home

ROWS = """
import os, apsw, witness
connection = apsw.Connection(os.environ["PERDURE_STATE"])
for pragma in ("journal_mode = WAL", "synchronous = {synchronous}", "wal_autocheckpoint = 7"):
    connection.execute("PRAGMA " + pragma).fetchall()
connection.execute("CREATE TABLE t (x INTEGER, pad BLOB) STRICT")
for n in range(60):
    connection.execute("INSERT INTO t VALUES (?, randomblob(600))", (n,))
    witness.say("seen", step="row", item=str(n), value=[n, ""])
"""


def lost_rows(ground: Ground, folder: Path, synchronous: str, cuts: int) -> tuple[int, int]:
    """How many of the cuts lost an acknowledged row, and how many left a file that cannot be read."""
    folder.mkdir()
    script = folder / "rows.py"
    script.write_text(ROWS.format(synchronous=synchronous))
    events = power.record(ground.nursery, Shape("rows"), folder / "recorded", script=script)
    lost = unreadable = 0
    for _, files, said in power.images(events, random.Random(5), cuts):
        acknowledged = {json.loads(line)["value"][0] for line in said}
        for name, content in files.items():
            (folder / name).write_bytes(content)
        try:
            found = _rows(folder / "state.db") if acknowledged else set()
        except apsw.Error:
            unreadable += 1
        else:
            lost += not acknowledged <= found
        for file in folder.glob("state.db*"):
            file.unlink()
    return lost, unreadable


def _rows(state: Path) -> set[int]:
    connection = apsw.Connection(str(state))
    try:
        return {x for (x,) in connection.execute("SELECT x FROM t")}
    finally:
        connection.close()


def test_plain_sqlite_with_synchronous_full_loses_no_acknowledged_row(ground: Ground, tmp_path: Path) -> None:
    """The model of the disk is no harsher than what SQLite promises to survive."""
    assert lost_rows(ground, tmp_path / "full", "FULL", 400) == (0, 0)


def test_plain_sqlite_with_synchronous_off_loses_acknowledged_rows(ground: Ground, tmp_path: Path) -> None:
    """And it is harsh enough to find a missing sync."""
    lost, unreadable = lost_rows(ground, tmp_path / "off", "OFF", 100)
    assert lost + unreadable > 10


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("control_plain", {"again"}), ("control_random_key", {"key"}), ("control_forgetful", {"again", "lost"})],
)
def test_control_victims_are_found_out(ground: Ground, name: str, kinds: set[str]) -> None:
    """A workload without steps, with a key made up anew, or with its state thrown away does not pass."""
    total = Outcome()
    for trial in range(12):
        total.add(ground.case(CONTROLS[name], f"random:{trial}"))
    assert kinds <= {violation.kind for violation in total.violations}


def test_a_torn_page_is_found(ground: Ground) -> None:
    """What judges the files that kills, cuts and failed operations leave sees that one is in pieces."""
    assert [violation.kind for violation in ground.torn(SHAPES["brief"])] == ["unreadable"]


def ran(life: int, item: str, *, key: str = "", attempt: int = 1, token: str = "t") -> Line:
    return Line(life, "ran", "pay", item, key or f"key-{item}", attempt, token)


def seen(life: int, item: str, token: str = "t") -> Line:
    return Line(life, "seen", "pay", item, value=[1, token])


END = Line(1, "end", value=2)


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ([ran(0, "a"), seen(0, "a"), ran(1, "a"), END], "again"),
        ([ran(0, "a"), ran(0, "b"), ran(1, "a"), ran(1, "b"), seen(1, "a"), seen(1, "b"), END], "again"),
        ([ran(0, "a"), ran(0, "a"), seen(0, "a"), END], "again"),
        ([ran(0, "a", key="k"), ran(1, "a", key="l"), seen(1, "a"), END], "key"),
        ([ran(0, "a", key="k"), seen(0, "a"), ran(1, "b", key="k"), seen(1, "b"), END], "key"),
        ([ran(0, "a", attempt=2), ran(1, "a", attempt=1), seen(1, "a"), END], "attempts"),
        ([ran(0, "a"), seen(0, "a"), seen(1, "a", "u"), END], "lost"),
        ([seen(1, "a"), ran(1, "b"), seen(1, "b"), END], "lost"),
        ([ran(0, "a"), seen(0, "a"), ran(1, "b"), seen(1, "b"), Line(1, "end", value=3)], "lost"),
        ([ran(0, "a"), seen(0, "a"), END], "lost"),
        ([ran(0, "a"), seen(0, "a"), ran(1, "b"), seen(1, "b")], "lost"),
    ],
)
def test_oracle_finds_each_kind_of_broken_promise(lines: list[Line], kind: str) -> None:
    """One short ledger for each thing that can go wrong."""
    assert kind in {violation.kind for violation in judge(lines, Shape("pay"), expected())}


def test_oracle_accepts_what_is_allowed() -> None:
    """The step in flight again with its own key, once for each death; a result seen again."""
    lines = [ran(0, "a"), seen(0, "a"), ran(0, "b", token="lost"), seen(1, "a"), ran(1, "b"), seen(1, "b"), END]
    assert judge(lines, Shape("pay"), expected()) == []


def expected() -> Reference:
    return Reference.of([seen(0, "a"), seen(0, "b"), Line(0, "end", value=2)])


LAST_WORDS = """
import atexit, sys, threading
class Held:
    def __del__(self):
        print("let go", flush=True)
held = Held()
held.itself = held
def later():
    threading.main_thread().join()
    print("thread", flush=True)
threading.Thread(target=later).start()
atexit.register(print, "at exit", flush=True)
{end}
"""


@pytest.mark.parametrize(("end", "status"), [("", 0), ("sys.exit(7)", 7), ("raise ValueError(8)", 1)])
def test_a_victim_that_ends_by_itself_ends_as_an_interpreter_does(
    ground: Ground, tmp_path: Path, end: str, status: int
) -> None:
    """Its threads end, what is registered is called, what it has made is let go, and its exit status is its own."""
    home = Home(tmp_path)
    home.script.write_text(LAST_WORDS.format(end=end))
    assert ground.nursery.live(home, 0, Kill()) == Death(status)
    *before, first, second, third = home.said().splitlines()
    assert (first, second, third) == ("thread", "at exit", "let go")
    assert any("ValueError: 8" in line for line in before) == (status == 1)


def test_disk_keeps_what_was_synced_and_may_lose_the_rest() -> None:
    """The disk model, event by event."""
    disk = Disk()
    events: list[tuple[Any, ...]] = [
        ("create", 1), ("link", "f", 1), ("write", 1, 0, b"a" * 1024), ("sync", 1), ("sync_folder",),
        ("write", 1, 512, b"b" * 1024),
    ]  # fmt: skip
    for event in events:
        disk.follow(event)
    found = {disk.cut(random.Random(seed))["f"].content() for seed in range(300)}
    assert all(content[:512] == b"a" * 512 for content in found)
    assert b"a" * 1024 in found
    assert b"a" * 512 + b"b" * 1024 in found
    assert b"a" * 512 + b"b" * 512 in found
    assert b"a" * 1024 + b"b" * 512 in found


def test_every_shape_is_a_file_and_every_file_a_shape() -> None:
    """No workload is forgotten in the folder."""
    named = {file for shape in (*SHAPES.values(), *CONTROLS.values()) for file in shape.files}
    folder = next(iter(named)).parent
    assert named == {file for file in folder.glob("*.py") if file.name != "witness.py"}
