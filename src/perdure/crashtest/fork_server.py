"""The fork server: a process that has imported what the script needs, starts lives, and ends all that they leave.

It is the nearest ancestor of all that lives start (`PR_SET_CHILD_SUBREAPER` on Linux), in whatever group. When
its input ends, because the command does or was killed, it ends the life under way and removes the scratch folder.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from perdure.config.interpreter import module_command
from perdure.crashtest.life import Order, live

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""

REHEARSAL = "rehearsal"
"""The folder of the state file that the fork server opens, and that each life begins with a copy of."""


class Nursery(msgspec.Struct, frozen=True):
    """What a fork server is told when it starts: what to import, and which folder to remove at the end."""

    modules: list[str]
    root: str


class Birth(msgspec.Struct, frozen=True):
    """A life to start.

    Attributes:
        order: what it is to do.
        environment: its variables: all of them for an interpreter of its own, else what differs from the fork server's.
        fresh: it gets an interpreter of its own.
        patience: seconds that it may take.
    """

    order: Order
    environment: dict[str, str]
    fresh: bool
    patience: float


class Death(msgspec.Struct, frozen=True):
    """How a life ended: the exit code, negative for a signal; `stuck` if it was ended since it took too long."""

    code: int
    stuck: bool = False


class _Over(Exception):
    """The command has ended."""


def main() -> None:
    """Start a life for each line of standard input, and answer with a line for each."""
    told = msgspec.json.decode(sys.argv[1], type=Nursery)
    for name in told.modules:
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: BLE001, S112  the script says so when it imports it
            continue
    _rehearse(Path(told.root, REHEARSAL, "state.db"))
    _become_subreaper()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    gc.collect()
    gc.freeze()
    lines = _Lines()
    try:
        while True:
            birth = msgspec.json.decode(lines.read(), type=Birth)
            death = _raise(birth, lines, woken)
            os.write(1, msgspec.json.encode(death) + b"\n")
    except (_Over, BrokenPipeError):
        pass
    finally:
        shutil.rmtree(told.root, ignore_errors=True)


class _Lines:
    """Standard input, by lines."""

    def __init__(self) -> None:
        self._buffer = b""

    def read(self) -> bytes:
        """The next line; raises _Over at the end."""
        while b"\n" not in self._buffer:
            self.more()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def more(self) -> None:
        """Take what there is; raises _Over at the end."""
        read = os.read(0, 65536)
        if not read:
            raise _Over
        self._buffer += read


def _rehearse(state: Path) -> None:
    """Open a state file once, so that what that loads is loaded for all lives."""
    from perdure.engines.local import engine as local

    try:
        local.engine_at(state).store.journal.read(lambda connection: None)
    finally:
        local.close_at(state)


def _raise(birth: Birth, lines: _Lines, woken: int) -> Death:
    pid = os.fork()
    if not pid:
        _become(birth)
    try:
        return _awaited(pid, birth.patience, lines, woken)
    finally:
        _end(pid)


def _awaited(pid: int, patience: float, lines: _Lines, woken: int) -> Death:
    until = time.monotonic() + patience
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return Death(os.waitstatus_to_exitcode(status))
        left = until - time.monotonic()
        if left <= 0:
            return Death(0, stuck=True)
        ready, _, _ = select.select([0, woken], [], [], left)
        if 0 in ready:
            lines.more()
        if woken in ready:
            os.read(woken, 4096)


def _end(pid: int) -> None:
    """End a life, and all that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    while True:
        try:
            done, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not done:
            for child in _children():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(-1, 0)


def _children() -> list[int]:
    """The processes whose parent this one is: what lives have started and left comes to it on Linux."""
    listed = Path("/proc/self/task", str(os.getpid()), "children")
    try:
        return [int(word) for word in listed.read_text().split()]
    except OSError:
        return []


def _become_subreaper() -> None:
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def _become(birth: Birth) -> None:
    status = 1
    order = birth.order
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        log = os.open(f"{order.notes}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        if birth.fresh:
            command = module_command("perdure.crashtest.life", msgspec.json.encode(order).decode())
            os.execve(command[0], command, birth.environment)
        os.environ.update(birth.environment)
        live(order)
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
