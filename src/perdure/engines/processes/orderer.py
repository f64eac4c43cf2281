"""The process that has ordered an attempt, as the attempt sees it in a process of its own: what it says goes there."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.engines.processes.messages import NOTE, READY, Logged, Note, Printed, Progressed, Published, Unsaved, frame
from perdure.engines.runtime.captured_lines import LONGEST

if TYPE_CHECKING:
    import logging

_encode = msgspec.msgpack.Encoder().encode


class Orderer:
    """Takes what an attempt says while it is under way. Any thread may say something.

    Args:
        connection: to the process that has ordered it.
        publishes: what is published is shown with the run.
        workflow: of the run.
    """

    def __init__(self, connection: socket.socket, *, publishes: bool, workflow: str = "") -> None:
        self.publishes = publishes
        self.workflow = workflow
        self._connection = connection
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._over = False

    def add(self, level: str, logger: str, text: str) -> None:
        """A line that was printed, or logged to handlers of this process."""
        self._say(Printed(level, logger, _beginning(text)))

    def log(self, record: logging.LogRecord, text: str) -> None:
        """A line that was logged, for the handlers of the process that has ordered it."""
        about = (record.pathname, record.lineno, record.funcName or "", record.created)
        self._say(Logged(record.name, record.levelno, _beginning(text), *about))

    def progress(self, done: Any, total: Any, note: str) -> None:
        """How far the attempt is."""
        self._say(Progressed(float(done), None if total is None else float(total), str(note)))

    def publish(self, name: str, packed: bytes, *, soon: bool = False) -> None:
        """Show a packed value of the run."""
        self._say(Published(name, packed, soon))

    def unsaved(self, step: str, around: str, line: str) -> None:
        """A step was called inside another."""
        self._say(Unsaved(step, around, line))

    def end(self) -> None:
        """The attempt is over: threads that it has left behind say nothing more."""
        with self._lock:
            self._over = True

    def ready(self) -> None:
        """The script is loaded: the time of the attempt begins."""
        self._send(frame(READY))

    def _say(self, note: Note) -> None:
        self._send(frame(NOTE + _encode(note)))

    def _send(self, data: bytes) -> None:
        if os.getpid() != self._process:
            return  # a copy of this process that the step has made
        # A handler of a signal that raises would leave half of it on the way.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()) if os.name == "posix" else None
        try:
            with self._lock, suppress(OSError):  # it is gone, and so will this process be
                if not self._over:
                    self._connection.sendall(data)
        finally:
            if before is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _beginning(text: str) -> str:
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return shown.encode("utf-8", "backslashreplace").decode()
