"""The state file of whoever calls: that of the run inside of which it is, else that of the script."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from perdure.config import settings
from perdure.engines.features import TEMPORAL, Feature
from perdure.engines.interface import StepContext, here, script_around
from perdure.engines.selection import capabilities_at, cluster_at
from perdure.errors import NotFound

if TYPE_CHECKING:
    from perdure.engines.local.resources import Resources
    from perdure.engines.local.scope import LocalScope


def scope_of_caller() -> LocalScope | None:
    """The run inside of which the caller is, in a workflow or a step, if it is one of this machine."""
    context = here.get()
    if context is None:
        return None
    from perdure.engines.local.scope import LocalScope

    scope: Any = context.scope if isinstance(context, StepContext) else context
    return scope if isinstance(scope, LocalScope) else None


MOST = 8
"""Files of callers that are looked at."""


def script_of_caller() -> str:
    """The script whose settings hold for a call outside of runs: the program's.

    A web server's program is not the application: where no state file goes with the program, it is the nearest caller's
    file that has one, as the workflows that are defined there have.
    """
    script = script_around(here.get())
    if settings.state_path(script).exists():
        return script
    return next((file for file in _files_of_callers() if settings.state_path(file).exists()), script)


def _files_of_callers() -> Iterator[str]:
    seen: set[str] = set()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and len(seen) < MOST:
        file = frame.f_code.co_filename
        ours = frame.f_globals.get("__name__", "").partition(".")[0] == "perdure"
        if not ours and file not in seen and os.path.isfile(file):
            seen.add(file)
            yield file
        frame = frame.f_back


def cluster_of_caller() -> Any:
    """The cluster whose runs the caller means; None if they are in a state file.

    Raises:
        OptionError: the settings name no engine, or what it needs is not installed.
    """
    context = here.get()
    scope: Any = context.scope if isinstance(context, StepContext) else context
    if scope is not None:
        return scope if hasattr(scope, "send_signal") else None
    url = settings.engine_url(script_of_caller())
    return None if capabilities_at(url).supports(Feature.STATE_FILE) else cluster_at(url)


def resources_of_caller(feature: Feature, *, make: bool = True) -> Resources:
    """The state file of the caller, and its clock.

    Args:
        feature: what the caller needs it for.
        make: make the file if there is none.

    Raises:
        UsageError: the engine has not that feature.
        NotFound: there is no state file, and none is to be made.
        StateError: it cannot be used.
    """
    scope = scope_of_caller()
    if scope is not None:
        return scope.resources
    context = here.get()
    script = script_around(context) if make else script_of_caller()
    if context is not None and not (isinstance(context, StepContext) and context.scope is None):
        raise TEMPORAL.unsupported(feature)
    capabilities_at(settings.engine_url(script)).require(feature)
    from perdure.engines.local import engine_at

    path = settings.state_path(script)
    if not make and not path.exists():
        raise NotFound(
            f"there is no state file: {path}",
            "start the run first; or set PERDURE_STATE to the state file that it is in",
        )
    return engine_at(path).resources
