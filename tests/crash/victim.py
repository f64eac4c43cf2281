"""One life of a victim: started, watched, killed, buried."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .kill import Kill, strace
from .shape import FOLDER

HERE = Path(__file__).parent
INSIDE = HERE / "inside"  # what runs in the victim's own process, around its script
SOURCE = HERE.parents[1] / "src"
PATIENCE = 60.0  # seconds after which a life counts as hung


@dataclass(frozen=True)
class Death:
    """How a life ended: the exit status (negative: the signal), and whether it hung until the harness ended it."""

    status: int
    hung: bool = False

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL and not self.hung


class Home:
    """The folder of one trial: the script, its state file, its ledger, its pipe."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.script = folder / "script.py"
        self.state = folder / "state.db"
        self.ledger = folder / "ledger.jsonl"
        self.output = folder / "output.txt"
        self.pipe = folder / "pipe"
        if not self.pipe.exists():
            os.mkfifo(self.pipe)

    def install(self, file: Path) -> None:
        """Deploy a version of the script."""
        self.script.write_bytes(file.read_bytes())

    def environment(self, life: int, kill: Kill) -> dict[str, str]:
        return {
            "PERDURE_STATE": str(self.state),
            "PERDURE_CRASH_LIMIT": "1000000",  # dying in the same step again and again is what this is about
            "CRASH_LIFE": str(life),
            "CRASH_LEDGER": str(self.ledger),
            "CRASH_PIPE": str(self.pipe),
            "CRASH_DIE_AT": str(kill.at) if kill.kind == "point" else "0",
            "NO_COLOR": "1",
        }

    def said(self) -> str:
        """The end of what the victims printed."""
        return self.output.read_text(errors="replace")[-3000:] if self.output.exists() else ""


class Nursery:
    """The process that starts victims (nursery.py), and the watch over the one that lives.

    Args:
        strike: what is done to a victim when its time has come; its process id is given. Default: SIGKILL.
    """

    def __init__(self, strike: Callable[[int], None] | None = None) -> None:
        self._strike = strike or (lambda pid: os.kill(pid, signal.SIGKILL))
        path = os.pathsep.join([str(SOURCE), str(FOLDER), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # a line that is already in a buffer would not wake the select below
            env={**os.environ, "PYTHONPATH": path},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    def live(
        self, home: Home, life: int, kill: Kill, *, argv: list[str] | None = None, env: dict[str, str] | None = None
    ) -> Death:
        """Start a victim and return when it is dead.

        Args:
            home: where it lives.
            life: which life of the trial this is.
            kill: how it is to end.
            argv: the script and its arguments, if not the one at home.
            env: more environment.
        """
        argv = argv or [str(home.script)]
        if kill.fresh:
            argv = [sys.executable, *argv]
        tracer = strace(kill.call, kill.at) if kill.kind == "call" else None
        env = {**home.environment(life, kill), **(env or {})}
        return self.run(home, argv, execute=kill.fresh, env=env, kill=kill, tracer=tracer)

    def run(
        self,
        home: Home,
        argv: list[str],
        *,
        env: dict[str, str],
        kill: Kill,
        execute: bool = False,
        tracer: list[str] | None = None,
    ) -> Death:
        """The same for any command line, under strace if there is a command for that."""
        # Opened for reading and writing, so that no open blocks and no end of file is seen between lives.
        pipe = os.open(home.pipe, os.O_RDWR | os.O_NONBLOCK)
        try:
            _drain(pipe)
            request = {
                "argv": argv,
                "env": env,
                "cwd": str(home.folder),
                "output": str(home.output),
                "execute": execute,
                "tracer": tracer,
            }
            self._tell(json.dumps(request))
            pid = int(self._hear()["pid"])
            hung = self._watch(pid, pipe, kill)
            status = int(self._hear()["status"])
            self._tell("reap")
            return Death(status, hung)
        finally:
            os.close(pipe)

    def _watch(self, pid: int, pipe: int, kill: Kill) -> bool:
        """Kill when the time has come; return when there is word of the death. True if it hung and was ended."""
        assert self._process.stdout is not None
        heard = self._process.stdout.fileno()
        started = time.monotonic()
        lines = 0
        armed = kill.kind in ("event", "time")
        hung = False
        while True:
            ready = select.select([pipe, heard], [], [], _wait(kill, started) if armed else 0.25)[0]
            if heard in ready:
                return hung
            lines += _drain(pipe)
            due = lines >= kill.at if kill.kind == "event" else time.monotonic() - started >= kill.spin
            if armed and due:
                if kill.kind == "event":
                    _spin(kill.spin)
                self._strike(pid)
                armed = False
            if time.monotonic() - started > PATIENCE:
                os.kill(pid, signal.SIGKILL)
                hung = True

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError("the nursery died")
        return dict(json.loads(line))


def _wait(kill: Kill, started: float) -> float:
    return max(0.0, started + kill.spin - time.monotonic()) if kill.kind == "time" else 0.25


def _spin(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def _drain(pipe: int) -> int:
    """How many lines were waiting in the pipe."""
    lines = 0
    while True:
        try:
            content = os.read(pipe, 65536)
        except BlockingIOError:
            return lines
        lines += content.count(b"\n")
