"""What a worker serves, and how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

GRACE = 30.0
"""Seconds that steps in flight have to end when the worker is to end (SIGTERM), unless it is told otherwise."""


class Options(msgspec.Struct, frozen=True):
    """What a worker serves, and how.

    Attributes:
        state: the state file.
        scripts: the paths of scripts.
        modules: the names of modules, looked for in `folder` first.
        folder: a folder.
        queues: the only queues that are served; empty: all.
        slots: how many runs each process executes at a time.
        processes: how many processes execute runs.
        grace: seconds that steps in flight have at the end.
        once: do what is due now, and end.
    """

    state: Path
    scripts: Sequence[str]
    modules: Sequence[str] = ()
    folder: str = ""
    queues: Sequence[str] = ()
    slots: int = 10
    processes: int = 1
    grace: float = GRACE
    once: bool = False
