"""A project with a bit of everything that perdure writes, left by real processes, two of which were killed."""

from __future__ import annotations

import contextlib
import os
import select
import sqlite3
import subprocess
import sys
from pathlib import Path

import perdure

SOURCE = Path(perdure.__file__).parents[1]

SCRIPT = """
import os, signal
import perdure
from perdure import Queue, Rate, Breaker, Retry, Secret, lock, step, workflow

EXECUTED = []
ONCE = Retry(attempts=2, delay=0.001, jitter=0)
MAIL = Queue("fuz-mail", concurrency=2, per_key=1, rate="5/min")


@step(retry=None, rate=Rate("1000/s", name="fuz-api"), breaker=Breaker("fuz-bank"))
def fuz_price(i: int) -> str:
    EXECUTED.append(i)
    print("the price of", i)
    perdure.spend(tokens=3)
    return f"price of {i}"


@step(retry=ONCE)
def fuz_picky(i: int) -> str:
    if i == 3:
        raise ValueError("three")
    return f"picked {i}"


@step(retry=None)
def fuz_back(i: int) -> None:
    EXECUTED.append(-i)


@step(retry=None, undo=fuz_back)
def fuz_reserve(i: int) -> int:
    return i


@step(retry=None)
def fuz_large() -> str:
    return "".join(f"{n} large values " for n in range(1500))


@step(retry=None)
def fuz_file() -> object:
    return perdure.artifact(b"artifact " * 1000)


@step(retry=None)
def fuz_slow(i: int) -> int:
    if os.environ.get("DIE"):
        os.kill(os.getpid(), signal.SIGKILL)
    return i


@step(retry=None)
def fuz_fail() -> None:
    raise PermissionError("the mail server says no")


@workflow
def fuz_part(i: int) -> str:
    return fuz_price(100 + i)


@workflow(lock="fuz-till")
def fuz_whole(n: int) -> list:
    perdure.defer(fuz_picky, 1)
    with perdure.budget(usd=5, tokens=1000):
        out = [fuz_price(i) for i in range(n)]
        perdure.publish("state", {"at": n})
        perdure.set_progress(3, 6, "half")
    batch = fuz_picky.map(range(5))
    out += [fuz_part(1), len(batch.dead), len(fuz_large()), fuz_reserve(4)]
    out.append(len(fuz_file().load()))
    try:
        fuz_picky(3)
    except ValueError:
        out.append("handled")
    out.append(fuz_slow(7))
    return out


@workflow
def fuz_done(n: int) -> list:
    return fuz_picky.map(range(n)).results


@workflow
def fuz_report(to: str) -> None:
    fuz_fail()


@workflow
def fuz_refund(order: str) -> bool:
    fuz_price(50)
    return perdure.approval(f"Refund {order}?", timeout="2d").approved


@workflow(queue=MAIL)
def fuz_mail(to: str) -> str:
    return to


@workflow(schedule="0 3 * * *", tz="UTC", queue=MAIL)
def fuz_nightly() -> str:
    return "night"


if __name__ == "__main__":
    fuz_whole.with_options(id="x")(6)
"""
RIGHT = [*(f"price of {i}" for i in range(6)), "price of 101", 1, 25890, 4, 9000, "handled", 7]

PROGRAM = """
import contextlib, os, sys
sys.path.insert(0, os.getcwd())
from fuz_shop import *
from perdure.errors import Suspended

fuz_done.with_options(id="done-1")(5)
fuz_done.with_options(id="done-2")(2)
with contextlib.suppress(PermissionError):
    fuz_report.with_options(id="failed-1")("boss")
with contextlib.suppress(Suspended):
    fuz_refund.with_options(id="waits-1")("SO-1")
for n, to in enumerate(("ann", "bob", "cid")):
    fuz_mail.with_options(id=f"mail-{n}").enqueue(to)
perdure.schedule(fuz_done, "every 15m", name="fuz-often", args=(3,))
for text in ("first", "second"):
    perdure.alert(text)
"""
COMMANDS = (
    ["signal", "waits-1", "paid", "[1]"],
    ["dlq", "drop", "1"],
    ["fork", "done-2", "--from", "2", "--no-run"],
    ["cancel", "mail-1"],
    ["queue", "pause", "fuz-mail"],
    ["schedule", "trigger", "fuz-often"],
    ["schedule", "skip", "fuz-often"],
)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of a process of that project: nothing else of perdure's is set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "WORKFLOW_"))}
    given = {"PYTHONPATH": str(SOURCE), "PERDURE_STATE": str(folder / "state.db"), "PERDURE_QUIET": "1"}
    return {**kept, **given, "PERDURE_ALERTS": "http://127.0.0.1:9/x", **more}


def build(folder: Path) -> Path:
    """Make the project in an empty folder; returns its state file, all of which is in the file itself."""
    (folder / "fuz_shop.py").write_text(SCRIPT, encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        '[tool.perdure]\nlogs = true\ncrash_limit = 9\nstuck_after = "1h"\n', encoding="utf-8"
    )

    def run(*args: str, status: int | None = 0, **more: str) -> None:
        done = subprocess.run(
            [sys.executable, *args],
            env=environment(folder, **more), cwd=folder, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        if status is not None and done.returncode != status:
            raise AssertionError(f"{args}: {done.returncode}\n{done.stdout}{done.stderr}")

    run("-c", PROGRAM)
    for command in COMMANDS:
        run("-m", "perdure", *command, status=None)
    for _ in range(2):
        run("fuz_shop.py", status=-9, DIE="1")
    _await_watchdogs(folder)
    state = folder / "state.db"
    for path in (state, folder / "state.db-services"):
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    return state


def _await_watchdogs(folder: Path) -> None:
    """Wait until no process is left that was told of the folder: a watchdog still writes for a moment."""
    mark = f"PERDURE_STATE={folder / 'state.db'}".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes():
                watched = os.pidfd_open(int(entry.name))
                select.select([watched], [], [], 120)
                os.close(watched)
