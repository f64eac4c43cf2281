"""An attempt in a process of its own, which can be killed whatever it does (`@step(isolate=True)`).

Arguments and result cross a socket in the journal's own format, and the process ends with the attempt.
"""

from __future__ import annotations

import contextvars
import math
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from perdure.config.steady_clock import steady
from perdure.core.durations import show
from perdure.core.exceptions import capture, notes
from perdure.core.execution.idempotency import idempotency_key
from perdure.core.execution.spec import NOT_STUBBED, Call, Spec
from perdure.core.values import artifact_names
from perdure.engines.interface import StepContext, here
from perdure.engines.observers import json_logs
from perdure.engines.processes.attempt_output import hear
from perdure.engines.processes.child_process import ChildProcess, Ended, TimeOver
from perdure.engines.processes.messages import Answer, Order, OrderingRun
from perdure.engines.processes.template import PATIENCE, start_child
from perdure.engines.runtime import orphans
from perdure.engines.runtime.timeouts import timed_out
from perdure.errors import OptionError, ProcessDied, StepTimeout


def check_isolable(spec: Spec) -> None:
    """Refuse what another process could not find.

    Raises:
        OptionError: the function is not at the top level of a file, or in a class there.
    """
    if "<" in spec.fn.__qualname__ or not spec.file or spec.file.startswith("<"):
        raise OptionError(
            f"{spec.owner} cannot be executed in another process: {spec.fn.__qualname__} is not at the top level of a "
            "file",
            "move the function to the top level of the script, so that another process can find it",
        )


class Stop:
    """Ends an attempt from another thread."""

    def __init__(self) -> None:
        self.asked = False
        self.child: ChildProcess | None = None

    def ask(self) -> None:
        """End it, as soon as there is a process to be ended."""
        self.asked = True
        if self.child is not None:
            self.child.interrupt()


async def run_isolated_in_task(
    spawn: Callable[[Callable[[], None]], None], call: Call, run_id: str, attempt: int, left: float | None
) -> Any:
    """The same as `run_isolated`, waited for by a task. If that is cancelled, so is the attempt.

    Args:
        spawn: runs a function in a thread.
    """
    import asyncio

    from perdure.engines.runtime.loop_futures import settle_future

    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context, stop = contextvars.copy_context(), Stop()

    def work() -> None:
        try:
            value, error = run_isolated(call, run_id, attempt, left, stop), None
        except BaseException as raised:  # noqa: BLE001  raised where it is waited for
            value, error = None, raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits for it
            loop.call_soon_threadsafe(settle_future, future, value, error)

    spawn(lambda: context.run(work))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.ask()
        await asyncio.wait([future])
        future.exception()  # seen: what the end has made of it matters to nobody
        raise


def _run_of(id: str, scope: Any) -> OrderingRun:
    run = getattr(scope, "run", None)
    return OrderingRun(
        id,
        json_logs.place()[1],
        b"" if run is None else os.fsencode(run.path),
        os.fsencode(artifact_names.folder_here(scope) or ""),
        publishes=hasattr(scope, "publish"),
        keeps=getattr(scope, "log_file", None) is not None,
        tick=None if scope is None else scope.tick(),
    )


def run_isolated(call: Call, run_id: str, attempt: int, left: float | None, stop: Stop | None = None) -> Any:
    """One attempt in another process: its own, or one of the workers of a map.

    Its time begins when that process has loaded the script. `left` to its run are so many seconds, load and all.

    Raises:
        StepTimeout: it, or the load, ran out of time and was killed, with all processes that it had started.
        ProcessDied: it ended without an answer.
        Exception: whatever the step raised.
    """
    spec = call.spec
    if spec.stub is not None and (made := spec.stub(call.args, call.kwargs)) is not NOT_STUBBED:
        return _awaited(made)
    end = math.inf if left is None else steady() + left
    loading = max(PATIENCE, spec.timeout or 0.0)
    loaded = min(steady() + loading, end)

    def late_at() -> float:
        return end if spec.timeout is None else min(steady() + spec.timeout, end)

    mark = orphans.step_mark(run_id, idempotency_key(run_id, spec.name, call.key + call.salt, call.n), attempt)
    workers, scope = spec.workers, getattr(here.get(), "scope", None)
    order = msgspec.msgpack.encode(
        Order(
            spec.name,
            spec.defined_as,
            spec.fn.__qualname__,
            call.input,
            call.key + call.salt,
            call.n,
            attempt,
            mark,
            workers is None,
            _run_of(run_id, scope),
        )
    )
    child: ChildProcess | None = None
    try:
        child = start_child(spec, loaded) if workers is None else workers.take(spec, loaded)
        if stop is not None:
            stop.child = child
            if stop.asked:
                child.interrupt()
        data = child.ask(order, loaded, late_at, hear)
        if workers is None:
            child.leave()
        else:
            workers.give_back(child)
    except BaseException as error:
        if child is not None:
            child.kill()
        orphans.end_attempt(mark)  # programs that it has started in groups of their own
        if isinstance(error, TimeOver):
            most = math.inf if left is None else left
            if child is None or not child.ready:
                raise _not_loaded(spec, min(loading, most)) from None
            raise timed_out(spec.owner, min(most, math.inf if spec.timeout is None else spec.timeout)) from None
        if isinstance(error, Ended):
            raise _died(spec, error.code) from None
        raise
    return _unpack(data, call)


def _awaited(made: Any) -> Any:
    import inspect

    if not inspect.iscoroutine(made):
        return made
    import asyncio

    return asyncio.run(made)


def _not_loaded(spec: Spec, seconds: float) -> StepTimeout:
    return StepTimeout(
        f"the process of {spec.owner} did not load {os.path.basename(spec.file)} within {show(seconds)}; the step has "
        "not begun",
        "find out what the file waits for when it is imported, and do that in a step; a longer timeout= of the step is "
        "one for the import, too",
    )


def _died(spec: Spec, code: int | None) -> ProcessDied:
    if code is None:
        how = "ended together with the one that had started it,"
    else:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return ProcessDied(f"the process of {spec.owner} {how} without an answer", "see its own output")


def _unpack(data: bytes, call: Call) -> Any:
    answer = msgspec.msgpack.decode(data, type=Answer)
    if answer.ok:
        return call.spec.plan.unpack(answer.payload)
    if isinstance(context := here.get(), StepContext):
        context.program = answer.program
    fault = capture.decode(answer.payload)
    error = capture.restore(fault, main=call.spec.module)
    notes.add(error, f"perdure: raised in a process of its own:\n{fault.traceback}")
    raise error
