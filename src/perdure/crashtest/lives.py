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
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from perdure.config import secrets
from perdure.config.interpreter import module_command
from perdure.crashtest.answers import Given
from perdure.crashtest.effects import Effect, Refusal
from perdure.crashtest.fork_server import REHEARSAL, Birth, Death, Nursery
from perdure.crashtest.life import Note, Order
from perdure.crashtest.outcome import Failure, Outcome
from perdure.crashtest.points import Point
from perdure.crashtest.scratch import copy_folder, not_copied
from perdure.errors import UsageError

FIRST = {"PYTHONHASHSEED": "1", "TZ": "UTC"}
OTHER = {"PYTHONHASHSEED": "2", "TZ": "Pacific/Auckland"}
"""Environments that a deterministic workflow cannot tell apart."""

OF_EVERY_LIFE = (
    "perdure.cli.workflow_arguments",
    "perdure.crashtest.clients",
    "perdure.engines.local.sync_driver",
    "perdure.engines.local.async_driver",
    "perdure.engines.processes.worker_pool",
    "perdure.operations.run",
    "perdure.operations.scripts",
    "concurrent.futures.thread",
    "faulthandler",
    "hmac",
    "secrets",
)
"""What each life imports by itself."""

START = 120.0
"""Seconds that the fork server may take to import what the script does."""

LAST_MOMENTS = 10.0
"""Seconds that it may take to end what lives have started, and to remove the scratch folder."""

LAST_PRINTED = 2_000
"""Bytes of a life's output that are looked at."""

OURS = ("PERDURE_", "WORKFLOW_", "STEP_TIMEOUT")


class Life(msgspec.Struct):
    """What is known of a life.

    Attributes:
        points: those that it reached, in order.
        effects: what it did.
        refusals: what it was kept from.
        outcome: how it ended; None if it was killed or did not end in time.
        stuck: it did not end in time.
        code: the exit code of its process, negative for a signal.
        log: the last of what it printed.
    """

    points: list[Point]
    effects: list[Effect]
    refusals: list[Refusal]
    outcome: Outcome | None
    stuck: bool = False
    code: int = 0
    log: str = ""

    @property
    def last_line(self) -> str:
        """How its process ended, and the last line that it printed."""
        lines = self.log.strip().splitlines()
        how = f"exit code {self.code}" if self.code >= 0 else signal.Signals(-self.code).name
        return f"{how}, {secrets.conceal(lines[-1])}" if lines else f"{how}, it printed nothing"


class Target(msgspec.Struct, frozen=True):
    """What is tested: a script and how it is started.

    Attributes:
        script: the file.
        workflow: which of its workflows; None: the only one.
        arguments: as on a command line.
        folder: what is copied; the script lies below it.
        cwd: where it is started from.
        hosts, programs, stubs, given: as of `Order`.
    """

    script: Path
    workflow: str | None
    arguments: list[str]
    folder: Path
    cwd: Path
    hosts: list[str] = []
    programs: list[str] = []
    stubs: dict[str, Any] = {}
    given: Given = Given()


class World:
    """One copy of the folder with a state file of its own, in which lives follow each other.

    Args:
        place: a folder for it, which is made.
        target: what is tested.
        original: the folder as it was in the beginning.
        rehearsed: the folder of the fork server's own state file.
    """

    def __init__(self, place: Path, target: Target, original: Path, rehearsed: Path) -> None:
        self.place = place
        self.folder = place / "copy" / (target.folder.name or "root")
        self._scratch = place / "scratch"
        self._kept = place.with_name(f"{place.name}-kept")
        (self._scratch / "tmp").mkdir(parents=True)
        self._target = target
        self._lives = 0
        shutil.copytree(original, self.folder, symlinks=True, ignore=not_copied)
        if rehearsed.is_dir():  # a state file that nothing is in: making one takes longer, and waits for the disk
            shutil.copytree(rehearsed, self._scratch / "state", ignore=not_copied)

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
            given=target.given,
        )

    def variables(self) -> dict[str, str]:
        """The variables that say where things are here."""
        return {
            "PERDURE_STATE": str(self._scratch / "state" / "state.db"),
            "TMPDIR": str(self._scratch / "tmp"),
            "PWD": str(self._copied(self._target.cwd)),
        }

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process here: the user's, but for perdure's settings, alerts and temporary files."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return clean | {
            "PERDURE_ALERTS": "",
            "PERDURE_HEARTBEAT": "",
            "PERDURE_CRASH_LIMIT": "1000000",
            "PERDURE_QUIET": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.variables(),
            **more,
        }

    def keep(self) -> None:
        """Remember how it is now."""
        shutil.copytree(self.place, self._kept, symlinks=True, ignore=not_copied)

    def put_back(self) -> None:
        """It is again as it was when it was kept; once."""
        shutil.rmtree(self.place)
        self._kept.rename(self.place)

    def in_words(self, text: str) -> str:
        """A text of a life, with the user's own paths."""
        return text.replace(str(self.folder), str(self._target.folder))

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.rmtree(self._kept, ignore_errors=True)

    def _copied(self, path: Path) -> Path:
        try:
            return self.folder / path.relative_to(self._target.folder)
        except ValueError:
            return self.folder


class Laboratory:
    """Starts lives by a fork server, forked or in interpreters of their own. A context manager that leaves nothing.

    Args:
        target: what is tested.
        patience: seconds that one life may take.

    Raises:
        UsageError: this system has no fork.
    """

    def __init__(self, target: Target, patience: float) -> None:
        if not hasattr(os, "fork"):
            raise UsageError("crashtest needs fork, which this system does not have", "run it on Linux or macOS")
        self.target = target
        self.patience = patience
        self._root = Path(tempfile.mkdtemp(prefix="perdure-crashtest-")).resolve()
        self._server: subprocess.Popen[bytes] | None = None
        self._answers = b""

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server = self._server
        if server is not None:
            assert server.stdin is not None
            with suppress(OSError):
                server.stdin.close()  # it ends what it has started, and itself
            try:
                server.wait(LAST_MOMENTS)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(server.pid, signal.SIGKILL)
                server.wait()
            assert server.stdout is not None
            server.stdout.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def world(self) -> World:
        """A new copy, in which nothing has happened yet. At the place of the one before: paths are the same in each."""
        original = self._root / "original"
        if (
            not original.exists()
        ):  # all lives begin with the same files, whatever is written beside the script meanwhile
            copy_folder(self.target.folder, original, self._root)
        return World(self._root / "world", self.target, original, self._root / REHEARSAL)

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

        Raises:
            UsageError: the fork server has ended.
        """
        order = world.order(kill, shift)
        server = self._started(world)
        variables = world.variables() if environment is None else world.environment(environment)
        birth = Birth(order, variables, environment is not None, self.patience)
        assert server.stdin is not None
        try:
            server.stdin.write(msgspec.json.encode(birth) + b"\n")
            server.stdin.flush()
        except BrokenPipeError:
            pass  # there is no answer either
        death = msgspec.json.decode(self._answer(server), type=Death)
        return _read(world, Path(order.notes), death)

    def _started(self, world: World) -> subprocess.Popen[bytes]:
        if self._server is None:
            told = Nursery(imported(self.target.script), str(self._root))
            self._server = subprocess.Popen(
                module_command("perdure.crashtest.fork_server", msgspec.json.encode(told).decode()),
                env=world.environment(FIRST),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        return self._server

    def _answer(self, server: subprocess.Popen[bytes]) -> bytes:
        """The next line of the fork server, which ends a life in time by itself."""
        assert server.stdout is not None
        out = server.stdout.fileno()
        while b"\n" not in self._answers:
            in_time = select.select([out], [], [], self.patience + START)[0]
            read = os.read(out, 4096) if in_time else b""
            if not read:
                what = "has ended by itself" if in_time else f"does not answer within {self.patience + START:g} s"
                raise UsageError(f"the fork server {what}", "see that modules of the script can be imported")
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


def _read(world: World, notes: Path, death: Death) -> Life:
    life = Life([], [], [], None, death.stuck, death.code)
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
            if not effect.sent:
                life.effects.remove(msgspec.structs.replace(effect, sent=True))
            elif effect.keyed and life.effects and msgspec.structs.replace(life.effects[-1], keyed=True) == effect:
                life.effects[-1] = effect  # its body was sent, and holds the key
            else:
                life.effects.append(effect)
        elif note.refusal is not None:
            refusal = msgspec.convert(note.refusal, Refusal)
            life.refusals.append(msgspec.structs.replace(refusal, what=world.in_words(refusal.what)))
        elif note.outcome is not None:
            outcome = note.outcome
            texts = {name: world.in_words(getattr(outcome, name)) for name in ("result", "error", "hint")}
            failures = [Failure(each.step, each.call, world.in_words(each.error)) for each in outcome.failures]
            life.outcome = msgspec.structs.replace(outcome, **texts, failures=failures)
    life.effects = _that_happened(life.effects, world.folder)
    log = Path(f"{notes}.log")
    life.log = world.in_words(_end_of(log)) if log.exists() else ""
    return life


def _that_happened(effects: list[Effect], folder: Path) -> list[Effect]:
    """Without files that were opened to append to, and that did not grow until they were opened again or life ended."""
    found: list[Effect] = []
    now: dict[str, int] = {}
    for effect in reversed(effects):
        if effect.kind == "append":
            if effect.what not in now:
                path = folder / effect.what
                now[effect.what] = path.stat().st_size if path.exists() else effect.size + 1  # moved away, or removed
            if now[effect.what] == effect.size:
                continue
        if effect.kind in ("append", "write"):
            now[effect.what] = effect.size if effect.kind == "append" else -1
        found.append(msgspec.structs.replace(effect, size=0))
    return found[::-1]


def _end_of(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_PRINTED))
        return file.read().decode("utf-8", "replace")
