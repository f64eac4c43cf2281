"""What the tests of workers share: a script whose steps keep a ledger and wait at a gate, runs, and workers of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import warm
from conftest import SOURCE, _clean
from perdure.config.script_identity import script_identity
from perdure.core.records import RunRecord
from perdure.core.values import codec
from perdure.store.bell import ring
from perdure.store.runs import Store
from waiting import until

SCRIPT = """
    import os, time
    from pathlib import Path
    import perdure

    HERE = Path(__file__).parent

    @perdure.step
    def work(run: str, n: int) -> int:
        with open(HERE / "ledger", "a") as ledger:
            ledger.write(f"{run} {n} {os.getpid()} {VERSION}\\n")
        while not (HERE / f"gate-{n}").exists():
            time.sleep(0.01)
        return n

    VERSION = "v1"

    @perdure.workflow
    def job(run: str) -> str:
        for n in range(3):
            work(run, n)
        return VERSION

    @perdure.workflow
    async def ajob(run: str) -> str:
        for n in range(3):
            await awork(run, n)
        return VERSION

    @perdure.step
    async def awork(run: str, n: int) -> int:
        import asyncio
        with open(HERE / "ledger", "a") as ledger:
            ledger.write(f"{run} {n} {os.getpid()} {VERSION}\\n")
        while not (HERE / f"gate-{n}").exists():
            await asyncio.sleep(0.01)
        return n

    @perdure.workflow
    def fails() -> None:
        raise ValueError("the moon is full")

    @perdure.workflow
    def dies() -> None:
        os.kill(os.getpid(), 9)
"""


class Begun:
    """A line of the ledger: a step of a run has begun, in a process, with a version of the script."""

    def __init__(self, line: str) -> None:
        self.run, n, pid, self.version = line.split()
        self.n, self.pid = int(n), int(pid)


class Worker:
    """A worker in processes of its own."""

    def __init__(self, world: World, *options: str, **env: str) -> None:
        self.process = warm.Popen(
            [sys.executable, "-m", "perdure", "worker", *options, str(world.script)],
            cwd=world.folder,
            env={**_clean(), "PYTHONPATH": str(SOURCE), **env},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def says(self, text: str) -> str:
        """The first line that holds the text, as soon as there is one."""
        return until(
            lambda: next((line for line in list(self.lines) if text in line), ""), f"{text!r} among what is said"
        )

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Its exit code, when it has ended."""
        code = self.process.wait(120)
        self._reader.join(120)  # the executors have ended too: they have the pipe
        return code


class World:
    """A folder with a script and its state file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "app.py"
        self.state = folder / ".perdure" / "state.db"
        self.workers: list[Worker] = []
        self.write(SCRIPT)

    def write(self, text: str) -> None:
        """Put the script there, whole."""
        draft = self.script.with_suffix(".draft")
        draft.write_text(textwrap.dedent(text), encoding="utf-8")
        draft.replace(self.script)

    def open(self, *gates: int) -> None:
        """Let all steps of these numbers end."""
        for n in gates:
            (self.folder / f"gate-{n}").touch()

    def worker(self, *options: str, ready: bool = True, **env: str) -> Worker:
        """Start a worker; it is `ready` when this returns."""
        worker = Worker(self, *options, **env)
        self.workers.append(worker)
        if ready:
            worker.says("; ready")
        return worker

    def told(self, *command: str) -> str:
        """What a command says, however it ends."""
        args = [sys.executable, "-m", "perdure", *command]
        environment = {**_clean(), "PYTHONPATH": str(SOURCE)}
        done = warm.run(args, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120)
        return f"{done.stdout}{done.stderr}"

    def add(self, *ids: str, workflow: str = "job", given: bool = True) -> None:
        """Queue runs, as `enqueue` does, and ring."""
        store = Store(self.state)
        script = script_identity(str(self.script), self.state)
        for id in ids:
            packed = codec.pack_inputs((id,) if given else (), {}, owner="a test")
            key = codec.digest(packed)
            names = (0, id, script, str(self.script), workflow, key, True, None, "queued", None, 0, packed, None)
            run = RunRecord(*names, 1.8e9, 1.8e9, None, 0, wake=1.0, priority=5)
            store.journal.write((), lambda connection, run=run: store.insert_run(connection, run))
        store.close()
        ring(self.state)

    def ledger(self) -> list[Begun]:
        """The steps that have begun, in their order."""
        try:
            return [Begun(line) for line in (self.folder / "ledger").read_text(encoding="utf-8").splitlines()]
        except FileNotFoundError:
            return []

    def begun(self, n: int, count: int) -> list[Begun]:
        """The beginnings of steps of that number, as soon as there are so many."""

        def enough() -> list[Begun]:
            found = [each for each in self.ledger() if each.n == n]
            return found if len(found) >= count else []

        return until(enough, f"{count} beginnings of step {n}")

    def runs(self) -> dict[str, RunRecord]:
        """The runs of the state file, by id."""
        store = Store(self.state, read_only=True)
        try:
            return {run.id: run for run in store.runs(children=True)}
        finally:
            store.close()

    def becomes(self, status: str, *ids: str) -> None:
        """Wait until these runs stand so."""
        until(lambda: all(self.runs()[id].status == status for id in ids), f"{', '.join(ids)} {status}")


def in_order(ledger: Sequence[Begun], steps: int = 3) -> dict[str, bool]:
    """For each run: every step began, and none again after a later one had begun, which is to say: had completed."""
    found: dict[str, list[int]] = {}
    for each in ledger:
        found.setdefault(each.run, []).append(each.n)
    return {run: numbers == sorted(numbers) and set(numbers) == set(range(steps)) for run, numbers in found.items()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world of the test's own; nothing of it is left running."""
    world = World(tmp_path)
    yield world
    for worker in world.workers:
        for pid in {worker.process.pid, *children(worker.process.pid)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        worker.end()
        assert worker.process.stderr is not None
        worker.process.stderr.close()


def children(pid: int) -> list[int]:
    """The processes that a process has started, and that live."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(each) for each in text.split()]
