"""A sync step that an async workflow calls: the event loop stands still meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from perdure.config.stderr_line import say
from perdure.config.steady_clock import steady
from perdure.core.redaction.printable import one_line

LONG = 0.1
"""Seconds for which a loop with other tasks may stand still without a word."""
_said: set[str] = set()


@contextmanager
def watching(owner: str) -> Iterator[None]:
    """Say so, once for each step, if the code inside takes long while other tasks wait."""
    began = steady()
    try:
        yield
    finally:
        seconds = steady() - began
        if seconds > LONG and owner not in _said and len(asyncio.all_tasks()) > 1:
            _said.add(owner)
            say(
                f"perdure: {one_line(owner)} is not async and kept the event loop from its other tasks for "
                f"{seconds:.1f}s; "
                "call it in a thread: await asyncio.to_thread(step, ...)"
            )
