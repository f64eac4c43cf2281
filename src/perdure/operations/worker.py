"""`perdure worker` and `perdure check`, which are for clusters."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import msgspec

from perdure.config.script_loader import load_script
from perdure.engines.observers.attach import observers_of
from perdure.engines.observers.fanout import FanOut
from perdure.engines.selection import cluster_at
from perdure.errors import OptionError

GRACE = 30.0
"""Seconds that steps under way have to end when the worker is told to."""


def serve(engine: str, scripts: Sequence[Path], ready: Callable[[list[str]], None]) -> None:
    """Run steps and workflows of these scripts for a cluster, until SIGTERM or SIGINT.

    Args:
        engine: the address of the cluster.
        scripts: files that define workflows.
        ready: told the stems of the scripts when they are loaded.

    Raises:
        OptionError: the address is none, or two scripts have one name.
        NotFound: there is no such file.
        EngineError: the cluster cannot be reached.
        Exception: whatever a script raises when it is loaded.
    """
    cluster = cluster_at(engine)
    stems = _loaded(scripts)
    # After the scripts: they may have set up logging.
    found = dict.fromkeys(each for script in scripts for each in observers_of(str(script.absolute())))
    cluster.observer = FanOut(*found) if found else None
    stop = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ready(stems)
        cluster.serve(stems, stop, GRACE)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _loaded(scripts: Sequence[Path]) -> list[str]:
    """Load the scripts; returns their stems, which are what they go by on a cluster."""
    stems = [path.stem for path in scripts]
    for path in scripts:
        if stems.count(path.stem) > 1:
            raise OptionError(
                f"two scripts are called {path.stem}, and a cluster knows scripts by that name", "rename one of them"
            )
        load_script(path)
    return stems


class Fitting(msgspec.Struct, frozen=True):
    """Whether a run that is under way fits the scripts as they are now; if not, `where` says at which step."""

    run: str
    workflow: str
    fits: bool
    where: str


def check(engine: str, scripts: Sequence[Path]) -> list[Fitting]:
    """Which runs that are under way fit these scripts as they are now; those that do not come first.

    Raises:
        As `serve` does.
    """
    cluster = cluster_at(engine)
    return [Fitting(fit.run, fit.workflow, fit.fits, fit.where) for fit in cluster.check(_loaded(scripts))]
