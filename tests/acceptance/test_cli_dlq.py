"""`perdure dlq`, as somebody uses it who has something to mend."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import warm
from conftest import SOURCE, _clean
from looking import looked, only_looks

SCRIPT = """
import os
from dataclasses import dataclass
from decimal import Decimal
from perdure import Retry, defer, step, workflow

def mended(what):
    return os.path.exists(what)

@dataclass
class Order:
    id: int
    total: Decimal

@step(retry=Retry(attempts=2, delay="1ms", jitter=0, on=(ValueError, ConnectionError)))
def charge(order: Order, note: str = "") -> str:
    print("charging", order.id, note)
    if order.total < 0 and not mended("charge"):
        raise ValueError(f"order {order.id} is negative, password=hunter22secret")
    if order.id == 3 and not mended("charge"):
        raise ConnectionError("the bank is closed")
    return f"{order.id} charged {order.total}"

@step(retry=None)
def close(name: str) -> None:
    if not mended("close"):
        raise OSError(f"{name} is stuck")

@step(retry=None)
def flaky() -> str:
    if not mended("flaky"):
        raise OSError("flaky")
    return "fine"

@workflow
def orders() -> list[str]:
    batch = charge.map([Order(n, Decimal(n - 2)) for n in range(1, 4)], concurrency=1)
    batch.raise_if_dead()
    return list(batch.results)

@workflow
def cleaning() -> str:
    defer(close, "the door")
    return "clean"

@workflow(park_after=1)
def whole() -> str:
    return flaky()

@workflow
def keyed() -> int:
    class Odd: id, total = "odd", -1
    return len(charge.map([Odd()], key=lambda odd: "k").dead)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow.py").write_text(SCRIPT)
    return tmp_path


def perdure(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    if only_looks(args):
        return looked(folder, *args, **env)
    return warm.run(
        [sys.executable, "-m", "perdure", *args],
        cwd=folder,
        env=_clean() | {"PYTHONPATH": str(SOURCE)} | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def dlq(folder: Path, *args: str) -> Any:
    done = perdure(folder, "dlq", *args, "--json")
    assert done.returncode in (0, 1, 3), done.stderr
    return json.loads(done.stdout)


def test_looked_at_edited_and_redriven(folder: Path) -> None:
    """The whole way: two letters, one mended by hand, one by the script; the run goes on."""
    assert perdure(folder, "run", "flow.py:orders").returncode == 1
    found = dlq(folder, "ls")
    assert [(one["letter"], one["step"], one["attempts"]) for one in found["letters"]] == [
        (2, "charge", 2),
        (1, "charge", 2),
    ]
    assert "hunter22secret" not in json.dumps(found)

    assert [one["letter"] for one in dlq(folder, "ls", "--error", "connection")["letters"]] == [2]
    assert dlq(folder, "ls", "--older", "1h")["letters"] == []
    assert (
        len(dlq(folder, "ls", "--newer", "1h", "--workflow", "orders", "--step", "charge", "--run", "last")["letters"])
        == 2
    )

    again = perdure(folder, "dlq", "redrive", "1", "2")
    assert again.returncode == 3
    assert "2 failed again" in again.stdout

    refused = perdure(folder, "dlq", "edit", "1", "--set", 'order.total="much"')
    assert refused.returncode == 2
    assert "order.total" in refused.stderr
    assert perdure(folder, "dlq", "edit", "1", "--set", "order.total").returncode == 2
    assert perdure(folder, "dlq", "edit", "1", "--set", "order.total=5", "--set", 'note="by hand"').returncode == 0
    told = dlq(folder, "show", "1")
    assert told["inputs"] == [{"id": 1, "total": "-1"}]
    assert told["edited"] == [[{"id": 1, "total": "5"}], {"note": "by hand"}]
    assert [attempt["redrive"] for attempt in told["attempts"]] == [False, False, True, True]
    assert told["redriven"] == 1
    assert "hunter22secret" not in json.dumps(told)

    one = dlq(folder, "redrive", "1")
    assert (one["resolved"], one["letters"][0]["seen"]) == (1, True)
    (folder / "charge").touch()
    assert dlq(folder, "redrive", "--all", "--rate", "100/s", "--concurrency", "2")["resolved"] == 1
    done = perdure(folder, "resume", "last")
    assert (done.returncode, done.stdout) == (0, "['1 charged 5', '2 charged 0', '3 charged 1']\n")
    shown = perdure(folder, "show", "last").stdout
    assert "dead letter 1, resolved by redrive" in shown
    assert "no dead letter is parked" in perdure(folder, "dlq", "ls").stdout


def test_a_script_that_has_moved_or_is_broken(folder: Path) -> None:
    """What cannot be tried says why, and stays parked; --script finds it again."""
    perdure(folder, "run", "flow.py:orders")
    (folder / "charge").touch()
    (folder / "flow.py").rename(folder / "moved.py")
    gone = perdure(folder, "dlq", "redrive", "--all")
    assert gone.returncode == 1
    assert "--script FILE" in gone.stderr
    assert "2 not tried" in gone.stdout
    unchecked = perdure(folder, "dlq", "edit", "1", "--set", "0.total=7")
    assert unchecked.returncode == 0
    assert "was not checked" in unchecked.stderr
    assert perdure(folder, "dlq", "edit", "1", "--reset").returncode == 0
    assert dlq(folder, "show", "1")["redriven"] == 0
    (folder / "moved.py").write_text(SCRIPT.replace("def charge", "def pay"))
    renamed = perdure(folder, "dlq", "redrive", "1", "--script", "moved.py")
    assert "has no step 'charge'" in renamed.stderr
    (folder / "moved.py").write_text("1 / 0")
    assert "ZeroDivisionError" in perdure(folder, "dlq", "redrive", "1", "--script", "moved.py").stderr
    (folder / "moved.py").write_text(SCRIPT)
    assert dlq(folder, "redrive", "--all", "--script", "moved.py")["resolved"] == 2


def test_dropped_and_exported(folder: Path) -> None:
    """Dropping keeps what is known; a file of exported letters is nobody else's."""
    perdure(folder, "run", "flow.py:orders")
    assert dlq(folder, "drop", "1") == {"dropped": [1], "refused": []}
    assert dlq(folder, "drop", "1")["refused"] == [1]
    assert "is dropped" in perdure(folder, "dlq", "redrive", "1").stderr
    assert perdure(folder, "dlq", "drop").returncode == 2
    assert perdure(folder, "dlq", "redrive", "7").returncode == 2
    assert perdure(folder, "dlq", "ls", "--older", "soon").returncode == 2
    exported = perdure(folder, "dlq", "export").stdout.splitlines()
    assert [json.loads(line)["letter"] for line in exported] == [2]
    assert perdure(folder, "dlq", "export", "1", "2", "-o", "out.jsonl").returncode == 0
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [(line["letter"], line["status"]) for line in lines] == [(1, "dropped"), (2, "parked")]
    assert "Traceback" in lines[1]["attempts"][0]["traceback"]
    assert stat.S_IMODE((folder / "out.jsonl").stat().st_mode) == 0o600


def test_what_could_not_be_stored_is_given_by_hand(folder: Path) -> None:
    """Of the argument only the type is known: refused, until somebody says what it was."""
    assert perdure(folder, "run", "flow.py:keyed").returncode == 3
    refused = perdure(folder, "dlq", "redrive", "1")
    assert refused.returncode == 1
    assert "perdure dlq edit 1" in refused.stderr
    assert "<keyed.<locals>.Odd>" in perdure(folder, "dlq", "show", "1").stdout


def test_a_clean_up_and_a_whole_run(folder: Path) -> None:
    """A clean-up that failed is re-driven like an item; a run that was parked is gone on with."""
    assert perdure(folder, "run", "flow.py:cleaning").returncode == 3
    assert perdure(folder, "run", "flow.py:whole").returncode == 1
    found = dlq(folder, "ls")["letters"]
    assert [one["step"] for one in found] == [None, "defer:close"]
    assert dlq(folder, "redrive", "--all")["failed"] == 2
    (folder / "close").touch()
    (folder / "flaky").touch()
    assert dlq(folder, "redrive", "--all")["resolved"] == 2
    assert [one["status"] for one in json.loads(perdure(folder, "ps", "--json").stdout)["runs"]] == ["done", "done"]


def test_in_an_editor(folder: Path) -> None:
    """Refused without a terminal; with one, what the editor leaves behind is the new input."""
    perdure(folder, "run", "flow.py:orders")
    assert "--set" in perdure(folder, "dlq", "edit", "1", EDITOR="true").stderr
    import pty

    editor = folder / "editor.sh"
    editor.write_text("#!/bin/sh\nsed -i 's/-1/6/' \"$1\"\n")
    editor.chmod(0o755)
    leader, follower = pty.openpty()
    process = warm.Popen(
        [sys.executable, "-m", "perdure", "dlq", "edit", "1"],
        cwd=folder,
        env=_clean() | {"PYTHONPATH": str(SOURCE), "EDITOR": str(editor), "TERM": "xterm"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    assert process.wait(60) == 0, os.read(leader, 4096)
    os.close(leader)
    assert dlq(folder, "show", "1")["edited"] == [{"id": 1, "total": "6"}]


def test_on_a_cluster_it_is_refused(folder: Path) -> None:
    """What a cluster cannot do is said, not ignored."""
    for command in ("redrive", "drop", "edit"):
        done = perdure(folder, "dlq", command, "1", "--engine", "temporal://127.0.0.1:1/default")
        assert done.returncode == 2
        assert "not supported on a cluster" in done.stderr
