"""The clock that waits and durations go by: it only ever grows, whatever is done to the time of day.

Asked from the system itself. Tests that freeze the time (freezegun, a patched `time.monotonic`) freeze what Python
modules call, and a wait that goes by a frozen clock never ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType

steady: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else time.monotonic
)
"""Seconds since some moment in the past."""


def is_frozen() -> bool:
    """Has something replaced the clock that event loops go by? Their timers may never fire then."""
    return not isinstance(time.monotonic, BuiltinFunctionType)
