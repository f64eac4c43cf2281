"""`perdure.aio.enqueue`: puts a run into a queue without blocking the event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ParamSpec, TypeVar, overload

from perdure.api.enqueue import aenqueue
from perdure.api.handle import Handle
from perdure.api.workflow import Workflow, engine_of

P = ParamSpec("P")
T = TypeVar("T")


@overload
async def enqueue(workflow: Workflow[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
@overload
async def enqueue(workflow: Workflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
async def enqueue(workflow: Workflow[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Put a run into a queue: as `Workflow.enqueue` does, without blocking the event loop.

    A task that is cancelled meanwhile does not take the run back.

    Args:
        workflow: the workflow, also one `with_options`.
        args: its positional arguments.
        kwargs: its keyword arguments.

    Returns:
        A Handle of the run.

    Raises:
        NotStorable, OtherInputs, UsageError, StateError: as `Workflow.enqueue` does.
    """
    return await aenqueue(workflow._spec, workflow._options, engine_of, args, kwargs)
