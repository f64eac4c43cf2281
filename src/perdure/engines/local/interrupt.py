"""Interrupts a workflow's own code on the main thread when its time is over."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in timeouts
import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType

from perdure.config.steady_clock import steady
from perdure.engines.runtime.alarm_backstop import backstop
from perdure.engines.runtime.timeouts import Interruption
from perdure.errors import StopRun

PACKAGE = f"{Path(__file__).parents[2]}{os.sep}"
AGAIN = 0.02
"""Seconds until the next try, if the signal found the thread in code of perdure's, which must not be interrupted."""


_OURS = {getattr(contextlib._GeneratorContextManager, name).__code__ for name in ("__enter__", "__exit__")}
"""The code between `interrupt` and who calls it."""


@contextmanager
def interrupt(seconds: float, stop: Callable[[], StopRun], caller: CodeType) -> Iterator[None]:
    """Raise what `stop` gives in the code inside when the time is over, wherever it is in code that is not ours.

    In a step, or while a result is being saved, it waits until that is over: steps have bounds of their own, which are
    never longer than the run's. What cleans up after the interruption is let be for a while. A handler or timer of the
    program's own is put back afterwards.

    Args:
        seconds: until the time is over.
        stop: gives what is raised.
        caller: the code of ours that calls the workflow's function.
    """
    active = True
    interruption = Interruption()

    def fire(signum: int, frame: FrameType | None) -> None:
        if not active or _in_perdure(frame, caller):
            return
        error = interruption.of(stop())
        if signum == _signal.SIGALRM and (pause := interruption.pause) is not None:
            _signal.setitimer(_signal.ITIMER_REAL, pause, AGAIN)
        if error is not None:
            raise error

    theirs = _signal.getsignal(_signal.SIGALRM)
    _signal.signal(_signal.SIGALRM, fire)
    left, interval = _signal.setitimer(_signal.ITIMER_REAL, seconds, AGAIN)
    began = steady()
    guard = backstop()
    depth = guard.enter(seconds, fire)
    try:
        yield
    finally:
        active = False
        guard.leave(depth)
        if left:
            left = max(left - (steady() - began), 0.000_001)
        _signal.setitimer(_signal.ITIMER_REAL, left, interval)
        if theirs is not None:
            _signal.signal(_signal.SIGALRM, theirs)


def _in_perdure(frame: FrameType | None, caller: CodeType) -> bool:
    """Is code of perdure's running, or waiting for what it has called, below the workflow's function?

    So it is where that function has not been called, or is over: what is left then is `interrupt` itself.
    """
    below = None
    while frame is not None:
        if frame.f_code is caller:
            return below is None or below.f_code in _OURS
        below = frame
        if frame.f_code.co_filename.startswith(PACKAGE):
            return True
        frame = frame.f_back
    return True
