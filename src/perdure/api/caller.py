"""The state file of whoever calls: that of the run inside of which it is, else that of the script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.config import settings
from perdure.engines.features import TEMPORAL, Feature
from perdure.engines.interface import StepContext, here, script_around
from perdure.engines.selection import capabilities_at
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
    script = script_around(context)
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
