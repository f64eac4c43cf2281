"""Puts runs into queues: from any program, and from workflows, where that is a step."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from perdure.api.handle import Handle
from perdure.api.run_options import RunOptions
from perdure.config.script_loader import stop_load
from perdure.core.execution.identity import identify_stored
from perdure.core.execution.queueing import DEFAULT
from perdure.core.execution.spec import Call, Spec
from perdure.engines.interface import Engine, Enqueued, Scope, StepContext, here
from perdure.errors import OptionError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from perdure.engines.local.state_file_runs import StateFileRuns

T = TypeVar("T")

EngineOf = Callable[[Spec], Engine]


def enqueue(spec: Spec, options: RunOptions, engine_of: EngineOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`Workflow.enqueue`."""
    scope = _around(spec)
    if scope is not None:
        (id,) = scope.enqueue(spec, [(args, kwargs)], _enqueued(spec, options))
        return _handle_beside(scope, id, spec, engine_of)
    engine = engine_of(spec)
    (id,) = engine.enqueue([_call(spec, args, kwargs)], _enqueued(spec, options))
    return Handle(id, engine, spec=spec)


async def aenqueue(
    spec: Spec, options: RunOptions, engine_of: EngineOf, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`perdure.aio.enqueue`."""
    scope = _around(spec)
    if scope is not None:
        waiting: Awaitable[str] = scope.aenqueue(spec, args, kwargs, _enqueued(spec, options))
        return _handle_beside(scope, await waiting, spec, engine_of)
    import asyncio

    call, asked = _call(spec, args, kwargs), _enqueued(spec, options)

    def work() -> tuple[str, Engine]:
        engine = engine_of(spec)
        return engine.enqueue([call], asked)[0], engine

    id, engine = await asyncio.to_thread(work)  # the commit waits for the disk; those of several tasks share it
    return Handle(id, engine, spec=spec)


def enqueue_many(spec: Spec, options: RunOptions, engine_of: EngineOf, rows: Iterable[Any]) -> list[Handle[Any]]:
    """`Workflow.enqueue_many`."""
    if options.id is not None:
        raise OptionError(
            "enqueue_many is given with_options(id=...), and an id stands for one run", "give dedup=, or enqueue each"
        )
    scope = _around(spec)
    given = [_arguments(number, row) for number, row in enumerate(rows)]
    if scope is not None:
        ids = scope.enqueue(spec, given, _enqueued(spec, options)) if given else []
        return [_handle_beside(scope, id, spec, engine_of) for id in ids]
    calls = [_call(spec, args, kwargs) for args, kwargs in given]
    if not calls:
        return []
    engine = engine_of(spec)
    return [Handle(id, engine, spec=spec) for id in engine.enqueue(calls, _enqueued(spec, options))]


def _handle_beside(scope: Scope, id: str, spec: Spec, engine_of: EngineOf) -> Handle[Any]:
    if scope.state_file is None:
        return Handle(id, engine_of(spec), spec=spec)
    return Handle(id, _runs_of(scope.state_file), spec=spec)


@cache
def _runs_of(state_file: Path) -> StateFileRuns:
    from perdure.engines.local.state_file_runs import StateFileRuns

    return StateFileRuns(state_file)


def _arguments(number: int, row: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(row, tuple):
        return row, {}
    if isinstance(row, Mapping):
        return (), dict(row)
    raise OptionError(
        f"row {number} of enqueue_many is {type(row).__name__}, neither a tuple nor a dict",
        "give the arguments of each run as a tuple, [(order,) for order in orders], or by name as a dict",
    )


def _around(spec: Spec) -> Scope | None:
    """The workflow that enqueues; None outside of one, and in a step, which does it by itself.

    Raises:
        UsageError: a worker could not find the workflow.
    """
    context = here.get()
    if context is None:
        stop_load(f"enqueues {spec.owner}")
    if ("." in spec.qualname and not _is_named(spec)) or not _is_file(spec.file):
        raise UsageError(
            f"{spec.owner} is enqueued, and is not defined at the top level of a file, where a worker finds it",
            "define the workflow at the top level of a script or a module",
        )
    return None if isinstance(context, StepContext) else context


_named: WeakSet[Spec] = WeakSet()


def _is_named(spec: Spec) -> bool:
    """Does a name at the top level of its module lead to a workflow that a factory has made?"""
    if spec not in _named:
        from perdure.config.reachable_workflows import reachable_workflows

        module = sys.modules.get(getattr(spec.fn, "__module__", None) or "")
        if module is None or not any(one._spec.fn is spec.fn for one in reachable_workflows(module)):
            return False
        _named.add(spec)
    return True


@cache
def _is_file(path: str) -> bool:
    """Whether the script is one; asked once, since a file that was loaded does not become none."""
    return os.path.isfile(path)


def _call(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    spec.refuse_unstorable()
    return identify_stored(spec, args, kwargs)


def _enqueued(spec: Spec, options: RunOptions) -> Enqueued:
    return Enqueued(
        id=options.id,
        queue=options.queue or spec.rules.queue or DEFAULT,
        priority=5 if options.priority is None else options.priority,
        key=options.key,
        dedup=options.dedup,
        delay=options.delay,
        at=options.at,
    )
