"""Threads that a run leaves behind do not keep the process from ending, if they only wait for each other."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import warm
from conftest import replace
from perdure.engines.runtime import left_threads
from perdure.engines.runtime.thread_branches import ThreadTask

PIPES: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)

SCRIPT = """
import asyncio, concurrent.futures, itertools, os, queue, sys, threading
from perdure import step, wait_for, workflow

def note(text):
    with open("ledger", "a") as file:
        file.write(text + "\\n")

@step
def make(n: int) -> int:
    if n == 2 and not os.path.exists("again"):
        print("here", flush=True)
        REACHED.set()
        sys.stdin.readline()
    note(f"make {n}")
    return n

@step
def use(n: int) -> int:
    note(f"use {n}")
    return n

MADE, REACHED = queue.Queue(), threading.Event()

def producer():
    for n in itertools.count() if "cancelled" in sys.argv else range(4):
        if n == 2 and "waits" in sys.argv:
            wait_for("go", timeout="5h")
        MADE.put(use(make(n) + 1000 * ("drifts" in sys.argv)))
    MADE.put(None)

def consumer():
    while (n := MADE.get()) is not None:
        use(n + 10)

def of_its_own():
    threads = [threading.Thread(target=each) for each in (producer, consumer)]
    for each in threads:
        each.start()
    if FAILS:
        REACHED.wait()
        raise ValueError("no more")
    for each in threads:
        each.join()

def in_a_pool():
    pool = concurrent.futures.ThreadPoolExecutor(2)
    jobs = [pool.submit(each) for each in (producer, consumer)]
    for each in jobs:
        each.result()

def at_an_event():
    come = threading.Event()
    def first():
        producer()
        come.set()
    def second():
        come.wait()
        use(100)
    threads = [threading.Thread(target=each) for each in (first, second)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

def in_a_loop():
    async def both():
        await asyncio.gather(*(asyncio.to_thread(each) for each in (producer, consumer)))
    asyncio.run(both())

FAILS = sys.argv[2:] == ["fails"] and not os.path.exists("again")

@workflow
def main() -> str:
    globals()[sys.argv[1]]()
    return "done"

if __name__ == "__main__":
    print(main())
"""


@pytest.mark.parametrize("arguments", [["of_its_own"], ["in_a_pool"], ["at_an_event"], ["of_its_own", "fails"]])
def test_the_process_ends_when_its_threads_only_wait_for_each_other(tmp_path: Path, arguments: list[str]) -> None:
    """After Ctrl-C, or a failure: the step under way is saved, the next call ends its thread, and who waits for that is
    left as well. The next life makes what is left, once."""
    (tmp_path / "work.py").write_text(SCRIPT)
    with warm.Popen([sys.executable, "work.py", *arguments], cwd=tmp_path, text=True, **PIPES) as process:
        assert process.stdout.readline() == "here\n"
        if len(arguments) == 1:
            process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate("\n", timeout=60)
        finally:
            process.kill()
    assert process.returncode != 0
    assert ("ValueError: no more" if len(arguments) > 1 else "KeyboardInterrupt") in said
    assert "is interrupted; run the script again" in said or len(arguments) > 1
    assert ("after the function of run" in said) is (len(arguments) > 1), said
    (tmp_path / "again").touch()
    again = warm.run([sys.executable, "work.py", *arguments], cwd=tmp_path, text=True, **PIPES, timeout=60)
    assert (again.returncode, again.stdout) == (0, "done\n"), again.stderr
    lines = (tmp_path / "ledger").read_text().splitlines()
    assert len(lines) == len(set(lines))
    assert {f"{what} {n}" for what in ("make", "use") for n in range(4)} <= set(lines)


ASYNC = SCRIPT.replace(
    """@workflow
def main() -> str:
    globals()[sys.argv[1]]()
    return "done"
""",
    """def fails():
    if FAILS:
        REACHED.wait()
        raise ValueError("no more")

@workflow
async def main_in_a_loop() -> str:
    await asyncio.gather(*(asyncio.to_thread(each) for each in (producer, consumer, fails)))
    return "done"

def main() -> str:
    return asyncio.run(main_in_a_loop())
""",
)
"""The threads are those of the loop, which waits for them as it ends."""


@pytest.mark.parametrize("how", ["interrupted", "fails"])
def test_the_loop_of_a_run_that_was_left_ends_when_its_threads_only_wait_for_each_other(
    tmp_path: Path, how: str
) -> None:
    """After one Ctrl-C, or a failure: `asyncio.run` ends, and with it the process. The next life makes what is left."""
    (tmp_path / "work.py").write_text(ASYNC)
    with warm.Popen([sys.executable, "work.py", "main", how], cwd=tmp_path, text=True, **PIPES) as process:
        assert process.stdout.readline() == "here\n"
        if how == "interrupted":
            process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate("\n", timeout=60)
        finally:
            process.kill()
    assert process.returncode != 0
    assert ("ValueError: no more" if how == "fails" else "KeyboardInterrupt") in said, said
    (tmp_path / "again").touch()
    again = warm.run([sys.executable, "work.py", "main", how], cwd=tmp_path, text=True, **PIPES, timeout=60)
    assert (again.returncode, again.stdout) == (0, "done\n"), again.stderr
    lines = (tmp_path / "ledger").read_text().splitlines()
    assert len(lines) == len(set(lines))
    assert {f"{what} {n}" for what in ("make", "use") for n in range(4)} <= set(lines)


WAYS = ["of_its_own", "in_a_pool", "at_an_event", "in_a_loop"]


@pytest.mark.parametrize("way", WAYS)
def test_a_cancelled_run_whose_threads_wait_for_each_other_ends(tmp_path: Path, way: str) -> None:
    """One thread is left at its next call, and who waits for what that was to bring is left as well: the run is over,
    and so is its process."""
    (tmp_path / "work.py").write_text(SCRIPT)
    with warm.Popen([sys.executable, "work.py", way, "cancelled"], cwd=tmp_path, text=True, **PIPES) as process:
        assert process.stdout.readline() == "here\n"
        cancel = [sys.executable, "-m", "perdure", "cancel", "last"]
        asked = warm.run(cancel, cwd=tmp_path, text=True, **PIPES, timeout=60)
        assert asked.returncode == 0, asked.stderr
        try:
            _, said = process.communicate("\n", timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "[cancelled]" in said


@pytest.mark.parametrize("way", WAYS)
def test_an_edit_in_a_thread_that_others_wait_for_is_told(tmp_path: Path, way: str) -> None:
    """Nothing is executed, and the process ends with the error, though the other thread and the function wait."""
    (tmp_path / "work.py").write_text(SCRIPT)
    with warm.Popen([sys.executable, "work.py", way], cwd=tmp_path, text=True, **PIPES) as process:
        assert process.stdout.readline() == "here\n"
        process.kill()
    before = (tmp_path / "ledger").read_text()
    edited = warm.run([sys.executable, "work.py", way, "drifts"], cwd=tmp_path, text=True, **PIPES, timeout=60)
    assert edited.returncode == 1
    assert "[code-drift]" in edited.stderr
    assert (tmp_path / "ledger").read_text() == before


@pytest.mark.parametrize("way", WAYS[:3])  # a loop of the workflow's own keeps the run in its process
def test_a_run_whose_threads_wait_for_one_that_waits_for_a_signal_is_suspended(tmp_path: Path, way: str) -> None:
    """The process ends with exit code 75, and the run goes on from the signal in the next one."""
    (tmp_path / "work.py").write_text(SCRIPT)
    (tmp_path / "again").touch()
    waits: dict[str, Any] = {**PIPES, "cwd": tmp_path, "text": True, "timeout": 60}
    at_once = {**os.environ, "PERDURE_SUSPEND_AFTER": "0"}
    first = warm.run([sys.executable, "work.py", way, "waits"], env=at_once, **waits)
    assert first.returncode == 75, first.stderr
    run = re.search(r"run (\S+) is suspended", first.stderr)
    assert run is not None
    sent = warm.run([sys.executable, "-m", "perdure", "signal", run[1], "go"], **waits)
    assert sent.returncode == 0, sent.stderr
    second = warm.run([sys.executable, "work.py", way, "waits"], env=at_once, **waits)
    assert (second.returncode, second.stdout) == (0, "done\n"), second.stderr
    lines = (tmp_path / "ledger").read_text().splitlines()
    assert len(lines) == len(set(lines))


BESIDE_A_WAIT = """
import asyncio, queue
import perdure
from perdure import step, workflow

@step
def use(n: int) -> int:
    with open("ledger", "a") as file:
        file.write(f"use {n}\\n")
    return n

@workflow
async def main() -> int:
    made = queue.Queue()
    job = asyncio.create_task(asyncio.to_thread(lambda: use(made.get()) + use(made.get())))
    made.put(1)
    await perdure.aio.wait_for("go", timeout="5h")
    made.put(2)
    return await job

if __name__ == "__main__":
    print(asyncio.run(main()))
"""


def test_an_async_run_that_waits_is_suspended_beside_a_thread_that_waits_for_it(tmp_path: Path) -> None:
    """A thread waits in a queue for what comes after a signal: nothing of it keeps the run in its process."""
    (tmp_path / "work.py").write_text(BESIDE_A_WAIT)
    waits: dict[str, Any] = {**PIPES, "cwd": tmp_path, "text": True, "timeout": 60}
    at_once = {**os.environ, "PERDURE_SUSPEND_AFTER": "0"}
    first = warm.run([sys.executable, "work.py"], env=at_once, **waits)
    assert first.returncode == 75, first.stderr
    run = re.search(r"run (\S+) is suspended", first.stderr)
    assert run is not None
    sent = warm.run([sys.executable, "-m", "perdure", "signal", run[1], "go"], **waits)
    assert sent.returncode == 0, sent.stderr
    second = warm.run([sys.executable, "work.py"], env=at_once, **waits)
    assert (second.returncode, second.stdout) == (0, "3\n"), second.stderr
    assert (tmp_path / "ledger").read_text().split("\n")[:-1] == ["use 1", "use 2"]


IN_C_CODE = """
import asyncio, queue
from perdure import step, workflow

@step(retry=None)
def fails() -> None:
    raise ValueError("no")

@workflow
async def main() -> None:
    await asyncio.gather(asyncio.to_thread(queue.SimpleQueue().get), asyncio.to_thread(fails))

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_loop_that_waits_for_a_thread_of_a_run_that_was_left_is_not_silent(tmp_path: Path) -> None:
    """The thread waits where it cannot be left, and so does `asyncio.run`: a line says what goes on."""
    (tmp_path / "work.py").write_text(IN_C_CODE)
    with warm.Popen([sys.executable, "work.py"], cwd=tmp_path, text=True, **PIPES) as process:
        bound = threading.Timer(60, process.kill)
        bound.start()
        said = next((line for line in process.stderr if "of it goes on" in line), "")
        bound.cancel()
        process.kill()
    assert re.fullmatch(r"perdure: run \S+ was left, and a thread \(.+:\d+\) of it goes on; .+\n", said), said


def test_what_the_process_waits_for_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A thread that waits in the interpreter's own code is left alone, and a line says where it is."""
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    task = ThreadTask(None)
    task.thread = threading.Thread(target=items.get)

    def slept(_: float) -> None:
        items.put(1)
        task.thread.join()  # type: ignore[union-attr]
        task.ended = True

    task.thread.start()
    task.ident = task.thread.ident
    monkeypatch.setattr(left_threads, "_left", [task])
    monkeypatch.setattr(left_threads, "SAY_SECONDS", 0.0)
    replace(monkeypatch, left_threads.time, "sleep", slept)
    left_threads._at_exit()
    assert "the process waits for a thread (" in capsys.readouterr().err
