"""Ctrl-C: whether it cancels the task of an event loop, one that comes while the last one is noted, the last line."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in timeouts
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from perdure.config.stderr_line import say
from perdure.core.exceptions.exits import is_exit

_replaced: list[Callable[[int, FrameType | None], Any]] = []
"""The handlers of SIGINT that `noting_interrupt` stands for."""


def ctrl_c_in_loop() -> bool:
    """Has `asyncio.run` cancelled its main task because of SIGINT? Its handler is a bound method of a Runner."""
    handler = _replaced[-1] if _replaced else _signal.getsignal(_signal.SIGINT)
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    return bool(getattr(runner, "_interrupt_count", 0))


@contextmanager
def noting_interrupt() -> Iterator[None]:
    """Keep a second Ctrl-C from breaking off what records the first one. A third one does, if the disk does not answer.

    The process ends anyway: nobody has to be told of the second one.
    """
    before = _signal.getsignal(_signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    seen = False

    def put_off(signum: int, frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            before(signum, frame)
        seen = True

    _replaced.append(before)
    _signal.signal(_signal.SIGINT, put_off)
    try:
        yield
    finally:
        _signal.signal(_signal.SIGINT, before)
        _replaced.pop()


def say_below_traceback(text: str) -> None:
    """Print a line as the last of all, once the KeyboardInterrupt that a loop is about to raise ends the script."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        if issubclass(kind, KeyboardInterrupt):
            say(text)

    sys.excepthook = hook


def is_interrupt(error: BaseException) -> bool:
    """Does it come from outside, whatever the program does then: Ctrl-C, or an exit that a signal's handler raises?"""
    if isinstance(error, KeyboardInterrupt):
        return True
    if not is_exit(type(error)):
        return False
    handlers = {_code(handler) for number in range(1, _signal.NSIG) if callable(handler := _signal.getsignal(number))}
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code in handlers:
            return True
        at = at.tb_next
    return False


def _code(handler: object) -> object:
    """Of the Python function that a handler is, or is made of; None if there is none."""
    handler = getattr(handler, "func", handler)
    return getattr(getattr(handler, "__func__", handler), "__code__", None)
