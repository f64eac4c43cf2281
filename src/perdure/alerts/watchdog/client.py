"""The run's side of the watchdog: starts the watchdog process, and sends it what cannot be seen from outside.

Nothing here may harm the run: a failure is logged once under `perdure`, and the run goes on unwatched. Texts are
redacted before they are sent: only this process knows the values of its `Secret`s.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

import msgspec

from perdure.config.interpreter import bare_command
from perdure.core.process_marks import PROCESS, STEP
from perdure.errors import PerdureError, Skipped, StopRun
from perdure.store.flight_record import locked_for_reporting
from perdure.store.flight_recorder import Recorder

WATCHDOG_PROCESS = "import sys; sys.path.append(sys.argv.pop(1)); import process; process.main()"
"""Imported, so that it is compiled only once."""
TEXT = 600
"""Characters of an error that are sent."""


class Settings(msgspec.Struct, frozen=True):
    """What the watchdog of a state file needs to know.

    `state` is the state file; `interrupts` whether Ctrl-C is alerted too.
    """

    state: Path
    interrupts: bool = False


class LastException(msgspec.Struct, frozen=True):
    """The exception that stopped a run in its middle, or ended the process: its class and its text.

    `code` is the exit code, if it was a SystemExit, or the code of an error of perdure's own, whose `hint` says what to
    do.
    """

    kind: str
    text: str = ""
    code: int | str | None = None
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.text else self.kind


class Watchdog:
    """Alerts if this process dies in the middle of a run. No method ever raises.

    Args:
        settings: what it needs to know.
        recorder: the flight recorder of this process, if it has one.
    """

    def __init__(self, settings: Settings, recorder: Recorder | None) -> None:
        self._settings = settings
        self._recorder = recorder
        self._pipe = -1
        self._started = False
        self._lock = Lock()
        self._next = count(1).__next__
        self._open: dict[str, int] = {}

    # -- what happens to runs -----------------------------------------------------------------------------------------

    def began(
        self,
        run_id: str,
        workflow: str,
        targets: tuple[str, ...],
        *,
        deadline: float | None = None,
        stall: float | None = None,
    ) -> None:
        """A run (not a child run) was started or resumed; without targets it is not watched.

        Args:
            run_id: the run.
            workflow: the name of its workflow.
            targets: the addresses that its alerts go to.
            deadline: seconds from now after which it counts as hanging.
            stall: seconds without a step that finishes after which it counts as hanging.
        """
        if targets:
            about = {"run": run_id, "workflow": workflow, "targets": targets}
            self._guarded(lambda: self._begin(run_id, about, stall or 0.0, deadline or 0.0))

    def ended(self, run_id: str) -> None:
        """A run is done, failed or cancelled: that is no crash."""
        number = self._open.pop(run_id, None)
        if number is not None:
            self._send(f"ended {number}")

    def stopped(self, run_id: str, error: BaseException) -> None:
        """A run was stopped in its middle by something that is not an Exception: an alert, if that is a failure.

        A cancelled task is a failure only if the process ends badly: Ctrl-C in asyncio looks like one, and so does a
        timeout of the caller's.
        """
        if run_id not in self._open:
            return
        if isinstance(error, Skipped) or (isinstance(error, KeyboardInterrupt) and not self._settings.interrupts):
            self.ended(run_id)
        elif type(error).__name__ == "CancelledError":
            self._send(f"cancelled {self._open[run_id]}")
        else:
            stop = _json(describe_exception(error))
            self._send(f"stopped {self._open.pop(run_id)} {stop}")

    def deliver(self, targets: tuple[str, ...]) -> None:
        """Have another process deliver what waits in the spool."""
        self._guarded(lambda: self._request_delivery({"targets": targets}))

    def progress(self) -> None:
        """There is progress within a step."""
        if self._recorder is not None:
            self._recorder.progress()

    def close(self) -> None:
        """This process needs the watchdog no more; a run that is still open has died in its middle."""
        with self._lock:
            if self._pipe >= 0:
                os.close(self._pipe)
                self._pipe = -1
        _watchdogs.discard(self)

    def close_in_child(self) -> None:
        """After a fork: the child has no run, and must not hide the end of its parent from the watchdog process."""
        self._lock = Lock()
        self._open.clear()
        self._started = True
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    # -- inside -------------------------------------------------------------------------------------------------------

    def _begin(self, run_id: str, about: dict[str, Any], stall: float, deadline: float) -> None:
        self._start()
        number = self._open[run_id] = self._next()
        self._send(f"began {number} {stall:.3f} {deadline:.3f} {_json(about)}")

    def _request_delivery(self, message: dict[str, Any]) -> None:
        self._start()
        self._send(f"deliver {_json(message)}")

    def _start(self) -> None:
        """Start the watchdog process, detached: without a terminal, and no child: scripts wait for theirs."""
        with self._lock:
            if self._started:
                return
            self._started = True
            if os.name != "posix" or not sys.executable:
                raise OSError("there is no watchdog process on this system")
            reading, writing = os.pipe()
            # Locked before it starts, so that nobody reports a death meanwhile that it is to report.
            record = locked_for_reporting(self._recorder.path) if self._recorder else -1
            try:
                _spawn(reading, record, str(self._recorder.path) if self._recorder else "")
            except BaseException:
                os.close(writing)
                raise
            finally:
                os.close(reading)
                if record >= 0:
                    os.close(record)
            os.set_blocking(writing, False)
            self._pipe = writing
        hello = {
            "state": str(self._settings.state),
            "flight": str(self._recorder.path) if self._recorder else "",
            "interrupts": self._settings.interrupts,
            "path": sys.path,
        }
        self._send(f"hello {_json(hello)}")
        _watch(self)

    def _send(self, line: str) -> None:
        if self._pipe >= 0:
            self._guarded(lambda: self._write(line.encode() + b"\n"))

    def _write(self, data: bytes) -> None:
        with self._lock:
            while data and self._pipe >= 0:
                poll = select.poll()
                poll.register(self._pipe, select.POLLOUT)
                ready = poll.poll(1000)
                # Looked at first, since a script may have made SIGPIPE deadly again.
                if not ready or ready[0][1] & select.POLLERR:
                    os.close(self._pipe)
                    self._pipe = -1
                    raise BrokenPipeError("the watchdog process has ended")
                data = data[os.write(self._pipe, data) :]

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001  the run must not fail for it
            import logging

            logging.getLogger("perdure").warning(
                "the watchdog process cannot be used, the run goes on unwatched: %s", error
            )


def describe_exception(error: BaseException) -> LastException:
    """An exception as the crash alert needs it; its text is redacted."""
    if isinstance(error, StopRun):
        return describe_exception(error.error)
    if isinstance(error, SystemExit):
        code = error.code
        if code is None or isinstance(code, int):
            return LastException("SystemExit", "", code or 0)
        return LastException("SystemExit", _text_of(error), 1)
    if isinstance(error, PerdureError):
        return LastException(type(error).__name__, _text_of(error), error.code, _cleaned(error.hint))
    return LastException(type(error).__name__, _text_of(error))


def _text_of(error: BaseException) -> str:
    try:
        return _cleaned(error.what if isinstance(error, PerdureError) else str(error))
    except Exception:  # noqa: BLE001  a class of the user's own may fail to give a text
        return ""


def _cleaned(text: str) -> str:
    """A text redacted, and only then shortened: half a secret would not be known again."""
    from perdure.alerts.sanitize import clean

    return clean(text)[:TEXT]


def _spawn(reading: int, record: int, flight: str) -> None:
    """Start the watchdog process; it is a child of ours only where there is no shell to detach it."""
    own = _pidfd()
    handed = (reading, own, record)
    # To numbers that none has now: the copies, and only they, are inherited.
    first = max(handed) + 1
    numbers = [str(first + at if each >= 0 else -1) for at, each in enumerate(handed)]
    command = bare_command(WATCHDOG_PROCESS, str(Path(__file__).parent), *numbers)
    command += [str(os.getpid()), _born(), sys.executable, flight]
    actions: list[Any] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    actions += [(os.POSIX_SPAWN_DUP2, each, first + at) for at, each in enumerate(handed) if each >= 0]
    detached = ["/bin/sh", "-c", 'trap "" INT TERM HUP; "$@" &', "sh", *command]
    shell = os.path.exists(detached[0])
    # It outlives this process on purpose, and is not to be taken for what a step has left.
    environment = {name: value for name, value in os.environ.items() if name not in (PROCESS, STEP)}
    words = detached if shell else command
    try:
        pid = os.posix_spawn(words[0], words, environment, file_actions=actions, setsid=True, setsigmask=[])
    except NotImplementedError:  # no new sessions: at least a group of its own
        pid = os.posix_spawn(words[0], words, environment, file_actions=actions, setpgroup=0, setsigmask=[])
    finally:
        if own >= 0:
            os.close(own)
    if shell:
        os.waitpid(pid, 0)


def _pidfd() -> int:
    try:
        return os.pidfd_open(os.getpid())
    except (AttributeError, OSError):
        return -1


def _born() -> str:
    try:
        return Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_watchdogs: set[Watchdog] = set()
_hooked = False


def _watch(watchdog: Watchdog) -> None:
    global _hooked
    _watchdogs.add(watchdog)
    if _hooked:
        return
    _hooked = True
    before = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        for each in list(_watchdogs):
            each._send(f"goodbye {_json(describe_exception(error))}")
        before(kind, error, traceback)

    sys.excepthook = excepthook


def _after_fork() -> None:
    for watchdog in list(_watchdogs):
        watchdog.close_in_child()
    _watchdogs.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
