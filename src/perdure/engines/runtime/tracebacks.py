"""Tracebacks that begin where the user's code does."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

E = TypeVar("E", bound=Exception)


def from_user_code(error: E) -> E:
    """The same exception, without the frames of perdure's that lead to the user's function."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("perdure."):
        trace = trace.tb_next
    return error if trace is None else error.with_traceback(trace)
