"""`perdure check`: do runs under way fit the scripts as they are now?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perdure.engines.interface import ReplayCheck
from perdure.engines.selection import worker_engine_at
from perdure.operations.scripts import load_scripts

__all__ = ["ReplayCheck", "check"]


def check(engine: str, scripts: Sequence[Path]) -> Sequence[ReplayCheck]:
    """Which runs that are under way fit these scripts as they are now; those that do not come first.

    Args:
        engine: the address of an engine that has workers.
        scripts: files that define workflows.

    Raises:
        OptionError: the address names no engine that has workers, or two scripts have one name.
        NotFound: there is no such file.
        EngineError: the cluster cannot be reached.
        Exception: whatever a script raises when it is loaded.
    """
    return worker_engine_at(engine, "check").replay_check(load_scripts(scripts))
