"""A process that a step has forked and that has come back out of it: nothing of the run is its own, so it ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from perdure.config.stderr_line import say


def end_if_copy(process: int) -> None:
    """End this process if it is a copy of that one: its threads are gone, and whoever forked it waits for it.

    Args:
        process: the id of the process in which the caller began.
    """
    if os.getpid() == process:
        return
    say(f"perdure: a process that was forked in a step of process {process} came back out of it; it ends")
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(1)
