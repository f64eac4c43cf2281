"""Tracebacks that begin where the user's code does."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TypeVar

E = TypeVar("E", bound=Exception)


def is_of_perdure(error: BaseException) -> bool:
    """Did Python itself raise it (as it imports a module, say), called by perdure rather than the user's code?

    What perdure itself raises may be the failure of a step, made anew of its record.
    """
    names: list[str] = []
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        names.append(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    own = [name for name in names if name.partition(".")[0] not in sys.stdlib_module_names]
    return bool(own) and _is_own(own[-1]) and names[-1] != own[-1]


def from_user_code(error: E) -> E:
    """The same exception, without the frames of perdure's that lead to the user's function."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and _is_own(trace.tb_frame.f_globals.get("__name__", "")):
        trace = trace.tb_next
    return error if trace is None else error.with_traceback(trace)


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == "perdure"
