"""Calls of steps that are not saved, and results that are not what is declared: said once, and kept with the run."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from types import CodeType, FrameType
from typing import Any

from perdure.core.execution.spec import Spec
from perdure.engines.interface import StepContext, here, under_way
from perdure.errors import NotAwaited

_said: set[tuple[str, ...]] = set()


def stray(spec: Spec) -> None:
    """A step is called on a thread that belongs to no run, while one is under way: one line for each step."""
    thread = threading.current_thread()
    said = ("stray", spec.name)
    if thread is threading.main_thread() or said in _said or "perdure_step" in vars(thread):
        return
    _said.add(said)
    scope = next(iter(list(under_way.values())), None)
    if scope is None:
        return
    _say(
        scope,
        spec.name,
        f"{where()}: {spec.owner} was called on thread {thread.name!r}, which run {scope.id} has not started: the call "
        "is an ordinary one, and nothing is saved; start the thread, or submit the job, inside the workflow",
    )


def nested(spec: Spec, context: StepContext) -> None:
    """A step is called inside a step: one line for each pair."""
    around = context.call.spec
    said = ("nested", spec.name, around.name)
    if said in _said or around.record_kind != "step" or spec.record_kind != "step":
        return
    _said.add(said)
    line = (
        f"{where()}: {spec.owner} was called inside {around.owner}: the call is an ordinary one, its retry and timeout "
        "are not used, and its result is not saved; call it from the workflow, or make it a plain function"
    )
    if context.orderer is not None:
        context.orderer.unsaved(spec.name, around.name, line)
    else:
        _say(context.scope, spec.name, line)


def nested_elsewhere(scope: Any, step: str, around: str, line: str) -> None:
    """The same, as the process says in which the attempt is made: once for all of them."""
    if (said := ("nested", step, around)) not in _said:
        _said.add(said)
        _say(scope, step, line)


def unlike(text: str) -> None:
    """A result is stored that is not what the annotation says: one line for each step and kind of result."""
    said = ("unlike", text)
    if said in _said:
        return
    _said.add(said)
    context = here.get()
    scope = context.scope if isinstance(context, StepContext) else context
    _say(scope, "", f"{text}; it is saved as it is: mend the annotation, or what is returned", UserWarning)


def _say(scope: Any, step: str, line: str, kind: type[Warning] = RuntimeWarning) -> None:
    from perdure.config.stderr_line import say
    from perdure.core.redaction.printable import one_line

    say(f"perdure: {one_line(line)}")
    keep = getattr(scope, "keep_note", None)  # what runs a step elsewhere has no place for it
    if keep is not None:
        keep(step, line, kind)


def where() -> str:
    """File and line of the caller's own code, below which everything is perdure's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "perdure":
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


_Unbegun = tuple[str, Coroutine[Any, Any, Any], CodeType, int]
"""Whose call, its coroutine, and where it was made: code and instruction, which are cheaper to have than the line."""


class Unawaited:
    """The calls of async steps and child workflows of a run that have not begun, since nothing has awaited them yet."""

    __slots__ = ("_calls", "_numbers")

    def __init__(self) -> None:
        self._calls: dict[int, _Unbegun] = {}
        self._numbers = itertools.count()

    def watch(self, owner: str, begin: Callable[[], Awaitable[Any]], depth: int) -> Coroutine[Any, Any, Any]:
        """A call, as the coroutine that the workflow is given.

        Args:
            owner: whose call it is.
            begin: makes it, when it is awaited.
            depth: how many frames of perdure's are between this one and the workflow's.
        """
        number = next(self._numbers)
        coroutine = _carry(self._calls, number, begin)
        frame = sys._getframe(depth + 1)
        self._calls[number] = owner, coroutine, frame.f_code, frame.f_lasti
        return coroutine

    def refuse(self) -> None:
        """The workflow's function has returned: make sure that it has awaited its calls.

        Those that it has closed or cancelled are not meant.

        Raises:
            NotAwaited: one was never begun.
        """
        if not self._calls:
            return
        import inspect

        left = [one for one in self._calls.values() if inspect.getcoroutinestate(one[1]) == "CORO_CREATED"]
        self._calls.clear()
        tasks = _tasks() if left else {}
        for _, coroutine, *_ in left:  # so that Python does not warn of the same
            if (task := tasks.get(coroutine)) is not None:
                task.cancel()
            else:
                coroutine.close()
        if left:
            owner, _, code, instruction = left[0]
            more = f", and {len(left) - 1} more calls" if len(left) > 1 else ""
            raise NotAwaited(
                f"{owner} was called at {code.co_filename}:{_line(code, instruction)} and never awaited, so it was not "
                f"executed{more}",
                "write `await` in front of the call; in a workflow that is not async, call steps that are not async",
            )


def _tasks() -> dict[Any, Any]:
    """The tasks of the loop around, by the coroutine that they carry."""
    import asyncio

    try:
        return {task.get_coro(): task for task in asyncio.all_tasks()}
    except RuntimeError:  # there is none
        return {}


def _line(code: CodeType, instruction: int) -> int:
    for first, last, line in code.co_lines():
        if first <= instruction < last and line is not None:
            return line
    return code.co_firstlineno


async def _carry(calls: dict[int, _Unbegun], number: int, begin: Callable[[], Awaitable[Any]]) -> Any:
    calls.pop(number, None)
    return await begin()
