"""What the code of steps logs and prints is kept with their attempts, and goes where it went before as well.

`logging.Logger.callHandlers` and `builtins.print` are wrapped when the first run begins in a process; neither a handler
nor a stream of the program's is touched. Outside of attempts both do as ever. What a kept line costs is its redaction.
"""

from __future__ import annotations

import builtins
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from perdure.engines.interface import StepContext, here

if TYPE_CHECKING:
    import logging

    from perdure.store.attempt_logs import LogFile, LogLine

HEAD = 48 << 10
TAIL = 16 << 10
"""Bytes of an attempt that are kept: of its first lines, which are written at once, and of its last ones."""
LONGEST = 8_000
"""Characters of a line."""
FORWARDED = "perdure_forwarded"
"""The attribute of a record that is logged, and kept, where the attempt was ordered."""

_print = builtins.print
_wrapped_logging = False


class Lines:
    """The lines of one attempt.

    Args:
        file: where they go.
        context: the attempt.
    """

    def __init__(self, file: LogFile, context: StepContext) -> None:
        self._file = file
        self._about = (context.run_id, context.call.spec.name, context.call.key, context.call.n, context.attempt)
        self._written = 0
        self._tail: deque[LogLine] = deque()
        self._size = 0
        self._left_out = 0

    def add(self, level: str, logger: str, text: str) -> None:
        """Keep a line; of one that is very long the beginning."""
        from perdure.config import secrets
        from perdure.store.attempt_logs import LogLine

        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        line = LogLine(time.time(), *self._about, level, logger, secrets.redactor()(shown))
        if self._written < HEAD:
            self._written += self._file.add(line)
            return
        self._tail.append(line)
        self._size += len(shown)
        while self._size > TAIL and len(self._tail) > 1:
            self._size -= len(self._tail.popleft().text)
            self._left_out += 1

    def end(self) -> None:
        """The attempt is over: write the last lines."""
        if self._left_out:
            from perdure.store.attempt_logs import LogLine

            said = f"{self._left_out:,} lines are left out"
            self._file.add(LogLine(self._tail[0].at, *self._about, "", "", said))
        while self._tail:
            self._file.add(self._tail.popleft())


def keep(level: str, logger: str, text: str) -> None:
    """The code of a step has logged or printed a line. Never raises."""
    context = here.get()
    if type(context) is not StepContext:
        return
    with suppress(Exception):  # the line is lost; a log harms no run
        lines = context.lines
        if lines is None:
            file = getattr(context.scope, "log_file", None)
            if file is None:
                return
            lines = context.lines = Lines(file, context)
        lines.add(level, logger, text)


def wrap() -> None:
    """Keep what is logged and printed from now on."""
    if builtins.print is _print:
        builtins.print = _keeping_print
    global _wrapped_logging
    if not _wrapped_logging and "logging" in sys.modules:
        _wrapped_logging = True
        _wrap_logging()


def _keeping_print(
    *values: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False
) -> None:
    _print(*values, sep=sep, end=end, file=file, flush=flush)
    if type(here.get()) is StepContext and (file is None or file is sys.stdout or file is sys.stderr):
        text = (" " if sep is None else sep).join(map(str, values))
        if text:
            keep("", "stderr" if file is sys.stderr and file is not sys.stdout else "stdout", text)


_keeping_print.__name__ = _keeping_print.__qualname__ = "print"


def _wrap_logging() -> None:
    import logging

    before: Callable[[logging.Logger, logging.LogRecord], None] = logging.Logger.callHandlers

    def keeping(self: logging.Logger, record: logging.LogRecord) -> None:
        context = here.get()
        if type(context) is StepContext and context.orderer is not None and not self.hasHandlers():
            context.orderer.log(record, text_of(record))  # it is logged there, by the handlers that are there
            return
        before(self, record)
        if type(context) is StepContext and not hasattr(record, FORWARDED):
            keep(record.levelname, record.name, text_of(record))

    logging.Logger.callHandlers = keeping  # type: ignore[method-assign]


def text_of(record: logging.LogRecord) -> str:
    """The message, with its traceback."""
    import logging

    text = record.getMessage()
    if record.exc_info:
        text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
    return text
