"""`perdure worker`: executes what other processes start."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from perdure.engines.observers.attach import observers_of
from perdure.engines.observers.fanout import FanOut
from perdure.engines.selection import worker_engine_at
from perdure.operations.scripts import load_scripts

GRACE = 30.0
"""Seconds that steps in flight have to end when the worker is to end."""


def serve(engine: str, scripts: Sequence[Path], ready: Callable[[list[str]], None]) -> None:
    """Execute steps and workflows of these scripts until SIGTERM or SIGINT.

    Args:
        engine: the address of an engine that has workers.
        scripts: files that define workflows.
        ready: is given the stems of the scripts when they are loaded.

    Raises:
        OptionError: the address names no engine that has workers, or two scripts have one name.
        NotFound: there is no such file.
        EngineError: the cluster cannot be reached.
        Exception: whatever a script raises when it is loaded.
    """
    workers = worker_engine_at(engine, "worker")
    stems = load_scripts(scripts)
    # After the scripts: they may have set up logging.
    found = dict.fromkeys(each for script in scripts for each in observers_of(str(script.absolute())))
    workers.observer = FanOut(*found) if found else None
    stop = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ready(stems)
        workers.serve(stems, stop, GRACE)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
