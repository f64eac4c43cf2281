"""`step.map(...)`: its options are checked, its items bound to calls, and those handed to the engine."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Sized
from typing import Any, cast

from perdure.api.batch import Batch, batch_of
from perdure.api.options import checked_on_failure
from perdure.config.script_loader import stop_load
from perdure.core.execution.identity import identify, identify_item
from perdure.core.execution.map_items import MapOptions
from perdure.core.execution.spec import Call, Spec
from perdure.core.execution.spending import ledgers
from perdure.engines.interface import Concurrency, OnFailure, Scope, StepContext, here
from perdure.errors import OptionError, UsageError


def map_over(
    spec: Spec,
    first: tuple[Any, ...],
    items: Any,
    key: Callable[[Any], Any] | None,
    concurrency: Concurrency,
    processes: int | None,
    on_failure: OnFailure,
    max_dead: int | None,
) -> Any:
    """Call a step for every item; see `BoundStep.map`, whose arguments these are.

    Args:
        spec: the step.
        first: the instance that it is bound to, if it is a method; else empty.
    """
    if concurrency != "auto" and (not isinstance(concurrency, int) or concurrency < 1 or concurrency is True):
        raise OptionError(f"concurrency is {concurrency!r}", 'give a whole number of at least 1, or "auto"')
    if processes is not None:
        concurrency = _checked_processes(spec, processes, concurrency)
    checked_on_failure(on_failure)
    if max_dead is not None and (not isinstance(max_dead, int) or max_dead < 0 or isinstance(max_dead, bool)):
        raise OptionError(f"max_dead is {max_dead!r}", "give a whole number of dead letters from 0, or None")
    scope = here.get()
    if not isinstance(items, Iterable) and not (spec.is_async and isinstance(items, AsyncIterable)):
        raise OptionError(
            f"{spec.owner}: map is given a {type(items).__name__!r}, which is not iterable",
            "give a list or another iterable",
        )
    if scope is None:
        stop_load(f"calls {spec.owner}")
    if scope is None or type(scope) is StepContext:
        raise UsageError(
            f"{spec.owner}: map is called outside a workflow, where nothing is saved",
            "call it from a function decorated with @workflow, or use an ordinary loop",
        )
    running = cast(Scope, scope)
    running.admit(spec)
    spec = running.as_recorded(spec)

    around = ledgers.get()

    def bind(item: Any) -> Call:
        args = (*first, item) if first else (item,)
        call = identify(spec, args, {}) if key is None else identify_item(spec, args, key(item))
        call.ledgers = around
        return call

    total = len(items) if isinstance(items, Sized) else None
    options = MapOptions(concurrency, on_failure, total, max_dead, processes is not None)
    if spec.is_async:
        return running.unawaited.watch(spec.owner, lambda: _amap(running, spec, items, bind, options), 2)
    calls = map(bind, cast(Iterable[Any], items))
    return batch_of(running.batch(calls, spec, options), running.reader(), spec)


def _checked_processes(spec: Spec, processes: int, concurrency: Concurrency) -> int:
    if not isinstance(processes, int) or processes < 1 or processes is True:
        raise OptionError(f"processes is {processes!r}", "give a whole number of at least 1")
    if concurrency != 1:
        raise OptionError(
            f"{spec.owner}: map is given concurrency={concurrency!r} and processes={processes}, and each says how many "
            "items run at a time",
            "give processes= for work that keeps a processor busy, and concurrency= for work that waits",
        )
    from perdure.engines.processes.isolated_step import check_isolable

    check_isolable(spec)
    return processes


async def _amap(
    scope: Scope,
    spec: Spec,
    items: Any,
    bind: Callable[[Any], Call],
    options: MapOptions,
) -> Batch[Any]:
    tally = await scope.abatch(items, bind, spec, options)
    return batch_of(tally, scope.reader(), spec)
