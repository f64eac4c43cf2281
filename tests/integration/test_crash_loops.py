"""A step that kills its process again and again is given up, and the steps beside it are done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import warm
from conftest import SOURCE, Scripts

SCRIPT = '''
import asyncio, os, signal, sys, threading
from pathlib import Path
from perdure import Retry, step, workflow

WAY = os.environ.get("WAY", "kill")
POISON = 5
ONCE = Retry(attempts=2, delay=0.001, jitter=0)


def dies():
    if not Path("cured").exists():
        os._exit(3) if WAY == "exit" else os.kill(os.getpid(), signal.SIGKILL)


BESIDE = 8
"""As many as run at once; at the first crash all of them are in flight."""

arrived = []
all_arrived = threading.Event()


def note(n):
    with open("ran", "a") as file:
        file.write(f"{n}\\n")
    arrived.append(n)
    if len(arrived) == BESIDE:
        all_arrived.set()


def first_run():
    return not Path("crashed").exists()


@step(retry=ONCE)
def item(n):
    note(n)
    if first_run():
        all_arrived.wait()
        if n != POISON:
            threading.Event().wait()
        Path("crashed").touch()
    if n == POISON:
        dies()
    return n


@step(retry=ONCE)
async def aitem(n):
    note(n)
    if first_run():
        while n != POISON or not all_arrived.is_set():
            await asyncio.sleep(0)
        Path("crashed").touch()
    if n == POISON:
        dies()
    return n


@step(retry=ONCE)
def single():
    dies()


@workflow(name="nightly")
def threads():
    batch = item.map(range(24), concurrency=BESIDE)
    print(sorted(batch.results), len(batch.dead))


@workflow(name="nightly")
async def tasks():
    batch = await aitem.map(range(24), concurrency=BESIDE)
    print(sorted(batch.results), len(batch.dead))


@workflow(name="nightly")
def alone():
    single()
    print("through")


together = threading.Barrier(4)


@step(timeout=os.environ.get("BOUND", "0.2s"), retry=None)
def stuck(n):
    """The first time it dies with all in flight; then each hangs until its time is over."""
    if not Path("died").exists():
        together.wait()
        if n == 0:
            Path("died").touch()
            os._exit(3)
    threading.Event().wait(60)


@workflow(name="nightly")
def hanging():
    print(len(stuck.map(range(4), concurrency=4).dead))


@step
def long():
    print("waiting", flush=True)
    threading.Event().wait(60)


@workflow(name="nightly")
def deployed():
    long()


if __name__ == "__main__":
    chosen = globals()[sys.argv[1]]
    asyncio.run(chosen()) if sys.argv[1] == "tasks" else chosen()
'''

COMPANY = """
import os, signal, sys, threading
from pathlib import Path
from perdure import step, workflow

numbers = [int(word) for word in sys.argv[1:]]
together = threading.Barrier(len(numbers))


@step
def part(n):
    together.wait()
    if n == 0 and not Path("cured").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if not Path("cured").exists():
        threading.Event().wait()
    return n


@workflow
def order(n):
    return part(n)


if __name__ == "__main__":
    started = [order.with_options(id=f"order-{n}").start(n) for n in numbers]
    print([one.result() for one in started])
"""
"""Each number is a run; they are executed in one process, as a web application does. The first kills it."""

INNOCENT = str([n for n in range(24) if n != 5])


@pytest.fixture
def path(scripts: Scripts) -> Path:
    return scripts.write(SCRIPT, "loop.py")


@pytest.mark.parametrize("way", ["kill", "exit"])
@pytest.mark.parametrize("where", ["threads", "tasks"])
def test_a_poison_item_alone_becomes_a_dead_letter(where: str, way: str, path: Path, scripts: Scripts) -> None:
    """After three crashes in a row, with eight items in flight at a time; all the others succeed."""
    died = 0
    while (ended := scripts.run(path, where, WAY=way)).returncode in (3, -signal.SIGKILL):
        died += 1
        assert died <= 3
    assert died == 3
    assert ended.stdout == f"{INNOCENT} 1\n", ended.stderr
    ran = (scripts.folder / "ran").read_text().split()
    assert ran.count("5") == 3
    (letter,) = _letters(scripts)
    assert "CrashLoop" in json.dumps(letter)
    shown = _perdure(scripts, "dlq", "show", "1").stdout
    assert shown.count("its process died at ") == 3
    (scripts.folder / "cured").touch()
    again = _perdure(scripts, "dlq", "redrive", "--all")
    assert again.returncode == 0, again.stdout + again.stderr
    assert _letters(scripts) == []


@pytest.mark.parametrize("way", ["kill", "exit"])
def test_a_poison_step_fails_the_run_and_is_tried_again_when_asked(way: str, path: Path, scripts: Scripts) -> None:
    """The error says so, with each crash as a note; an explicit resume is another three tries."""
    for _ in range(3):
        assert scripts.run(path, "alone", WAY=way).returncode in (3, -signal.SIGKILL)
    ended = scripts.run(path, "alone", WAY=way)
    assert ended.returncode == 1
    assert "CrashLoop: step 'single' was in flight at 3 crashes in a row" in ended.stderr
    assert ended.stderr.count("perdure: its process died at ") == 3
    assert scripts.run(path, "alone", WAY=way).returncode in (3, -signal.SIGKILL)  # it is tried again
    (scripts.folder / "cured").touch()
    ended = scripts.run(path, "alone", WAY=way)
    assert ended.stdout == "through\n", ended.stderr


def test_runs_that_die_with_another_one_are_not_blamed(scripts: Scripts) -> None:
    """Four runs in one process, which dies five times before any gets on: then all of them are done."""
    path = scripts.write(COMPANY, "company.py")
    for _ in range(5):
        assert scripts.run(path, "0", "1", "2", "3").returncode == -signal.SIGKILL
    (scripts.folder / "cured").touch()
    ended = scripts.run(path, "0", "1", "2", "3")
    assert ended.stdout == "[0, 1, 2, 3]\n", ended.stderr


def test_a_run_that_dies_alone_after_it_died_in_company_is_blamed(scripts: Scripts) -> None:
    """Two deaths beside three others and one without: the third time it was that run. Nothing is said of the others."""
    path = scripts.write(COMPANY, "company.py")
    for numbers in ("0123", "0123", "0"):
        assert scripts.run(path, *numbers).returncode == -signal.SIGKILL
    ended = scripts.run(path, "0")
    assert "CrashLoop: step 'part' was in flight at 3 crashes in a row" in ended.stderr
    assert ended.stderr.count("; it executed 3 other runs too)") == 2
    (scripts.folder / "cured").touch()
    ended = scripts.run(path, "1", "2", "3")
    assert ended.stdout == "[1, 2, 3]\n", ended.stderr


def test_a_loop_of_two_runs_in_one_process_ends(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell which of two ends their process: each bears half, so they are given up after twice as many."""
    path = scripts.write(COMPANY, "company.py")
    for _ in range(4):
        assert scripts.run(path, "0", "1", PERDURE_CRASH_LIMIT="2").returncode == -signal.SIGKILL
    why = _perdure(scripts, "why", "order-1").stdout
    assert "it is tried again until that has happened more often, since the process executed other runs too" in why
    monkeypatch.setenv("PERDURE_CRASH_LIMIT", "2")
    why = _perdure(scripts, "why", "order-1").stdout
    assert "part was in flight at 4 crashes in a row, so it is not tried again" in why
    ended = scripts.run(path, "0", "1", PERDURE_CRASH_LIMIT="2")
    assert ended.returncode == 1
    assert "CrashLoop: step 'part' was in flight at 4 crashes in a row" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM])
@pytest.mark.parametrize("watched", [False, True])
def test_deploys_count_against_no_step(watched: bool, number: int, path: Path, scripts: Scripts) -> None:
    """However often a long step is cut short by SIGTERM, with a watchdog process that sees it or without."""
    env = {"PERDURE_ALERTS": "exec:/bin/true"} if watched else {}
    for _ in range(5):
        process = scripts.start(path, "deployed", **env)
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        assert process.wait(60) == -number
        process.communicate()


def test_a_suspect_that_hangs_holds_up_no_other(path: Path, scripts: Scripts) -> None:
    """Suspects run one at a time; one whose thread is stuck when its time is over lets the next one in."""
    assert scripts.run(path, "hanging", BOUND="10m").returncode == 3
    ended = scripts.run(path, "hanging")
    assert (ended.returncode, ended.stdout) == (0, "4\n"), ended.stderr


def _perdure(scripts: Scripts, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(
        [sys.executable, "-m", "perdure", *words, "--state", ".perdure/state.db"],
        cwd=scripts.folder, env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def _letters(scripts: Scripts) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(_perdure(scripts, "dlq", "ls", "--json").stdout)["letters"]
    return found
