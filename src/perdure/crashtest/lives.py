"""Starts the lives of a workflow under test, waits for them, and reads what they have noted."""

from __future__ import annotations

import ast
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from perdure.config.interpreter import module_command
from perdure.crashtest.effects import Effect, Refusal
from perdure.crashtest.life import Note, Order, Outcome
from perdure.crashtest.points import Point
from perdure.crashtest.scratch import copy_folder
from perdure.errors import UsageError

FIRST = {"PYTHONHASHSEED": "1", "TZ": "UTC"}
OTHER = {"PYTHONHASHSEED": "2", "TZ": "Pacific/Auckland"}
"""Environments that a deterministic workflow cannot tell apart."""

OF_EVERY_LIFE = (
    "perdure.cli.workflow_arguments",
    "perdure.crashtest.clients",
    "perdure.engines.local.sync_driver",
    "perdure.engines.local.async_driver",
    "perdure.operations.run",
    "perdure.operations.scripts",
)
"""What each life imports by itself."""

OURS = ("PERDURE_", "WORKFLOW_", "STEP_TIMEOUT")


class Life(msgspec.Struct):
    """What is known of a life.

    Attributes:
        points: those that it reached, in order.
        effects: what it did.
        refusals: what it was kept from.
        outcome: how it ended; None if it was killed or did not end in time.
        stuck: it did not end in time.
        log: the last of what it printed.
    """

    points: list[Point]
    effects: list[Effect]
    refusals: list[Refusal]
    outcome: Outcome | None
    stuck: bool = False
    log: str = ""

    @property
    def last_line(self) -> str:
        """The last line that it printed."""
        lines = self.log.strip().splitlines()
        return lines[-1] if lines else "it printed nothing"


class Target(msgspec.Struct, frozen=True):
    """What is tested: a script and how it is started.

    Attributes:
        script: the file.
        workflow: which of its workflows; None: the only one.
        arguments: as on a command line.
        folder: what is copied; the script lies below it.
        cwd: where it is started from.
        hosts, programs, stubs: as of `Order`.
    """

    script: Path
    workflow: str | None
    arguments: list[str]
    folder: Path
    cwd: Path
    hosts: list[str] = []
    programs: list[str] = []
    stubs: dict[str, Any] = {}


class World:
    """One copy of the folder with a state file of its own, in which lives follow each other.

    Args:
        place: a folder for it, which is made.
        target: what is tested.
    """

    def __init__(self, place: Path, target: Target) -> None:
        self.place = place
        self.folder = place / "copy"
        self._scratch = place / "scratch"
        (self._scratch / "tmp").mkdir(parents=True)
        self._target = target
        self._lives = 0
        copy_folder(target.folder, self.folder, place.parent)

    def order(self, kill: Point | None, shift: float) -> Order:
        """The next life here."""
        self._lives += 1
        target = self._target
        return Order(
            script=str(self._copied(target.script)),
            workflow=target.workflow,
            arguments=target.arguments,
            folder=str(self.folder),
            cwd=str(self._copied(target.cwd)),
            scratch=str(self._scratch),
            notes=str(self.place / f"life-{self._lives}"),
            kill=kill,
            shift=shift,
            hosts=target.hosts,
            programs=target.programs,
            stubs=target.stubs,
        )

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process here: the user's, but for perdure's settings, alerts and temporary files."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return clean | {
            "PERDURE_STATE": str(self._scratch / "state" / "state.db"),
            "PERDURE_ALERTS": "",
            "PERDURE_HEARTBEAT": "",
            "PERDURE_CRASH_LIMIT": "1000000",
            "PERDURE_QUIET": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self._scratch / "tmp"),
            **more,
        }

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.place, ignore_errors=True)

    def _copied(self, path: Path) -> Path:
        try:
            return self.folder / path.relative_to(self._target.folder)
        except ValueError:
            return self.folder


class Laboratory:
    """Starts lives: by a fork server, or each in an interpreter of its own. A context manager that leaves nothing.

    Args:
        target: what is tested.
        patience: seconds that one life may take.
    """

    def __init__(self, target: Target, patience: float) -> None:
        self.target = target
        self.patience = patience
        self._root = Path(tempfile.mkdtemp(prefix="perdure-crashtest-")).resolve()
        self._worlds = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._answers = b""

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            _end_group(self._server.pid)
            self._server.communicate()
        shutil.rmtree(self._root, ignore_errors=True)

    def world(self) -> World:
        """A new copy, in which nothing has happened yet."""
        self._worlds += 1
        return World(self._root / str(self._worlds), self.target)

    def live(
        self,
        world: World,
        kill: Point | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        shift: float = 0,
    ) -> Life:
        """One life.

        Args:
            world: where.
            kill: at which point it dies.
            environment: it gets an interpreter of its own with these variables; None: the fork server has it.
            shift: seconds that its time of day is off.
        """
        order = world.order(kill, shift)
        if environment is None and hasattr(os, "fork"):
            stuck = self._forked(world, order)
        else:
            stuck = self._fresh(world, order, environment or FIRST)
        return _read(Path(order.notes), stuck)

    def _fresh(self, world: World, order: Order, environment: Mapping[str, str]) -> bool:
        with open(f"{order.notes}.log", "ab") as log:
            process = subprocess.Popen(
                module_command("perdure.crashtest.life", msgspec.json.encode(order).decode()),
                env=world.environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            process.wait(self.patience)
        except subprocess.TimeoutExpired:
            return True
        finally:
            _end_group(process.pid)
            process.wait()
        return False

    def _forked(self, world: World, order: Order) -> bool:
        server = self._server
        if server is None:
            server = self._server = subprocess.Popen(
                module_command("perdure.crashtest.nursery", msgspec.json.encode(imported(self.target.script)).decode()),
                env=world.environment(FIRST),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        assert server.stdin is not None
        environment = {
            "PERDURE_STATE": str(Path(order.scratch, "state", "state.db")),
            "TMPDIR": str(Path(order.scratch, "tmp")),
        }
        server.stdin.write(msgspec.json.encode(msgspec.structs.replace(order, environment=environment)) + b"\n")
        server.stdin.flush()
        pid = int(self._answer(server) or 0)
        try:
            status = self._answer(server, self.patience)
        finally:
            _end_group(pid)
        if status is None:
            self._answer(server)
        return status is None

    def _answer(self, server: subprocess.Popen[bytes], patience: float | None = None) -> bytes | None:
        """The next line of the fork server; None if there is none for so long. Both may come at once."""
        assert server.stdout is not None
        out = server.stdout.fileno()
        while b"\n" not in self._answers:
            if not select.select([out], [], [], patience)[0]:
                return None
            read = os.read(out, 4096)
            if not read:
                raise UsageError(
                    "the fork server has ended by itself", "see that modules of the script can be imported"
                )
            self._answers += read
        line, _, self._answers = self._answers.partition(b"\n")
        return line


def imported(script: Path) -> list[str]:
    """The modules that a script imports at its top and that do not lie beside it: loaded once, for all its lives."""
    try:
        tree = ast.parse(script.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    beside = {path.stem for path in script.parent.iterdir()}
    return [*OF_EVERY_LIFE, *(name for name in names if name.partition(".")[0] not in beside)]


def _read(notes: Path, stuck: bool) -> Life:
    life = Life([], [], [], None, stuck)
    lines = notes.read_bytes().splitlines() if notes.exists() else []
    for line in lines:
        try:
            note = msgspec.json.decode(line, type=Note)
        except msgspec.DecodeError:
            continue  # cut off by the kill
        if note.point is not None:
            life.points.append(note.point)
        elif note.effect is not None:
            effect = msgspec.convert(note.effect, Effect)
            if effect.keyed and life.effects and msgspec.structs.replace(life.effects[-1], keyed=True) == effect:
                life.effects[-1] = effect  # its body was sent, and holds the key
            else:
                life.effects.append(effect)
        elif note.refusal is not None:
            life.refusals.append(msgspec.convert(note.refusal, Refusal))
        elif note.outcome is not None:
            life.outcome = note.outcome
    log = Path(f"{notes}.log")
    life.log = log.read_text("utf-8", "replace")[-2000:] if log.exists() else ""
    return life


def _end_group(pid: int) -> None:
    """End a process and all that it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
