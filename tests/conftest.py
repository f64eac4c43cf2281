"""What the tests of the engine share: a state file of their own, a clock that they move, and a way to die."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis.internal.conjecture import providers

import perdure
import warm
from perdure.engines.interface import under_way
from perdure.engines.local import LocalEngine
from perdure.engines.local import engine as local
from perdure.store.bell import Ear
from perdure.store.runs import Store

# A suite that is run in the background of a shell starts with SIGINT ignored, one under nohup with SIGHUP, and so would
# every process of its tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# Neither how long an example takes nor how fast they are made says anything on a machine that is busy.
# The same examples each time: a commit is good or bad, whenever it is tested. `-m long` looks for new ones.
hypothesis.settings.register_profile(
    "perdure", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("perdure")
# It parses all modules that are loaded for values to try: a second in each process, and other examples in each order.
providers._get_local_constants = lambda: providers._local_constants

OURS = ("PERDURE_", "WORKFLOW_", "STEP_TIMEOUT")
"""How the variables begin that say something to perdure."""

READ_SOURCE = {
    "tests/test_error_texts.py",
    "tests/test_layers.py",
    *(
        f"tests/unit/test_{name}.py"
        for name in (
            *("child_interpreters", "connections", "engine_features", "hostile_tokens"),
            *("lines_in_one_write", "printed_text"),
        )
    ),
}
"""Files whose tests share the syntax trees of all modules."""

SOURCE = Path(perdure.__file__).parents[1]
"""What is tested, for processes of their own."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """What is loaded and collected stays until the end: garbage is looked for in what tests make, and not in it.

    Test modules are compiled once, whatever PYTHONDONTWRITEBYTECODE says: each process collects all of them.
    """
    gc.disable()
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = kept
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes minutes, and what needs a browser, runs only when it is asked for."""
    asked = config.option.markexpr or ""
    apart = [name for name in ("long", "browser") if name not in asked]
    left = [item for item in items if any(map(item.get_closest_marker, apart))]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """By file, but for the tests on a cluster: on two sides of about the same length, with a cluster each.

    Tests that look at the whole source are on one side, where it is parsed once.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            if file in READ_SOURCE:
                return "source"
            if not file.startswith("tests/conformance/"):
                return file
            return "cluster" if "/test_cluster_" in file else "conformance"

    return Files(config, log)


class Died(BaseException):
    """Ends a run as a death of the process would: no `except Exception` sees it."""


class Trouble(Exception):
    """What steps in tests fail with: it may heal."""


START = 3_000_000_000.0
"""When the clock of tests begins: in 2065, since parts that say how long ago something was look at the real clock."""


class FakeWorld:
    """A clock that moves only when somebody sleeps, and no chance at all.

    `slept` is the list of all waits, in seconds.
    """

    slice = float("inf")

    def __init__(self) -> None:
        self.time = START
        self.slept: list[float] = []
        self._ids = 0

    def now(self) -> float:
        return self.time

    def clock(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def rest(self, ear: Ear, seconds: float) -> None:
        self.sleep(seconds) if math.isfinite(seconds) else ear.wait(0.01)

    async def arest(self, ear: Ear, seconds: float) -> None:
        await asyncio.sleep(0)
        self.rest(ear, seconds)

    def uniform(self) -> float:
        return 0.5

    def new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:010d}"


def replace(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, other: Callable[..., Any]) -> None:
    """Replace a function or a class of the whole process for this thread, and those that begin later.

    What an earlier test has left behind goes on with the real one.
    """
    real = getattr(owner, name)
    # What stands for a thread that was not made by threading outlives it, and is taken for the next one of its number.
    others = {one for one in threading.enumerate() if not isinstance(one, threading._DummyThread)}
    others.discard(threading.current_thread())

    def replaced(*args: Any, **options: Any) -> Any:
        return (real if threading.current_thread() in others else other)(*args, **options)

    monkeypatch.setattr(owner, name, replaced)


class Machine:
    """A machine with one state file, on which processes come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state.db"
        self.world = FakeWorld()
        self.ran: list[object] = []

    @property
    def engine(self) -> LocalEngine:
        """The engine that a workflow called now uses."""
        return local.engine_at(self.state)

    def boot(self) -> None:
        """Begin a new process: nothing is left in memory of the one before."""
        local.close_all()
        local._engines[self.state] = LocalEngine(self.state, world=self.world)

    def runs(self) -> list[tuple[str, str]]:
        """Workflow and status of every run, oldest first; child runs too."""
        return [(run.workflow, run.status) for run in reversed(self.engine.store.runs(children=True))]

    def steps(self, run: int = -1) -> list[tuple[str, str]]:
        """Name and status of every record of a run, in order of completion; of the newest run by default."""
        rid = list(reversed(self.engine.store.runs(children=True)))[run].rid
        return [(record.name, record.status) for record in self.engine.store.all_records(rid)]


@pytest.fixture(autouse=True)
def no_run_is_left() -> Iterator[None]:
    """A death that is only simulated leaves its run under way in this process, which a real one would not."""
    yield
    under_way.clear()


@pytest.fixture(autouse=True)
def settings_are_put_back() -> Iterator[None]:
    """A command that is typed in this process sets variables for what it starts; the process would end with it."""
    before = {name: value for name, value in os.environ.items() if name.startswith(OURS)}
    yield
    for name in [name for name in os.environ if name.startswith(OURS) and name not in before]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine of the test's own; what workflows call on it is kept in a temporary folder."""
    machine = Machine(tmp_path)
    monkeypatch.setenv("PERDURE_STATE", str(machine.state))
    machine.boot()
    yield machine
    local.close_all()


class Scripts:
    """Scripts in a folder, run by processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def write(self, text: str, name: str = "script.py") -> Path:
        """Put a script there."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def start(
        self, path: Path, *args: str, cwd: Path | None = None, fresh: bool = False, **env: str
    ) -> subprocess.Popen[str]:
        """Run a script, with pipes to all it says; `fresh` if it is about what is imported."""
        process: subprocess.Popen[str] = (subprocess if fresh else warm).Popen(
            [sys.executable, str(path), *args],
            cwd=cwd or self.folder,
            env={**_clean(), "PYTHONPATH": str(SOURCE), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        """End what a test that failed has left: it would be found by the tests after it."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # what was not flushed
                        pipe.close()

    def run(
        self, path: Path, *args: str, cwd: Path | None = None, fresh: bool = False, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end."""
        process = self.start(path, *args, cwd=cwd, fresh=fresh, **env)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _clean() -> dict[str, str]:
    ours = ("PERDURE_", "WORKFLOW_", "STEP_TIMEOUT")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    """A folder for scripts that run in processes of their own, which end with the test."""
    place = Scripts(tmp_path / "scripts")
    yield place
    place.end()


Opened = Callable[[], Store]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Opened]:
    """Makes processes, as far as the state file and its locks can tell: a store each."""
    stores: list[Store] = []

    def open_one() -> Store:
        stores.append(Store(tmp_path / "state.db"))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()
