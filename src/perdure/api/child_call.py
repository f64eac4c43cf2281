"""The call of a workflow that a workflow makes: a child run, or, under an id, a run of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.api.run_options import RunOptions
from perdure.core.execution.spec import Spec
from perdure.engines.interface import Scope

if TYPE_CHECKING:
    from perdure.api.enqueue import EngineOf


def call_in(
    scope: Scope, spec: Spec, options: RunOptions, engine_of: EngineOf, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Make the call: its result, or, of an async workflow, the coroutine that gives it.

    Args:
        scope: the workflow that calls.
        spec: the workflow that is called.
        options: what the call says.
        engine_of: finds the engine of a workflow.
        args: its positional arguments.
        kwargs: its keyword arguments.
    """
    id = options.id
    if id is None or scope.calls_by_id:
        if spec.is_async:
            return scope.unawaited.watch(spec.owner, lambda: scope.achild(spec, args, kwargs, id), 2)
        return scope.child(spec, args, kwargs, id)
    from perdure.api.enqueue import aenqueue, enqueue

    async def result() -> Any:
        return await (await aenqueue(spec, options, engine_of, args, kwargs))

    if spec.is_async:
        return scope.unawaited.watch(spec.owner, result, 2)
    return enqueue(spec, options, engine_of, args, kwargs).result()
