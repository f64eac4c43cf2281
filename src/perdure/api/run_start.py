"""Starts a run beside the caller, or attaches to the one that is under way: `Workflow.start`."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from perdure.api.handle import Handle
from perdure.api.run_outcome import put_outcome
from perdure.api.running_loop import running_loop
from perdure.core.execution.run import UnderWay
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import RunRecord
from perdure.engines.interface import Engine

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future


def launch(engine: Engine, call: Call, spec: Spec, id: str | None) -> Handle[Any]:
    """Begin a run, and let it go on beside the caller; returns as soon as the run is registered in the state file.

    A run that is under way is not begun again, whichever process executes it: the handle waits for its end. If the
    process dies meanwhile that executes it, or leaves it, it is gone on with here.
    """
    number = _NUMBERS.setdefault(engine, len(_NUMBERS))
    mine = (number, id, spec.module, spec.name, call.key)
    known = _launched.get(mine)
    if known is not None and known._future is not None and not known._future.done():
        return known
    loop = running_loop() if spec.is_async else None
    try:
        handle = None if loop is None else _launch_task(engine, call, spec, id, loop)
        if handle is None:
            handle = _launch_thread(engine, call, spec, id)
    except UnderWay as found:
        handle = _Attached(engine, call, spec, found.id, loop).handle
    _launched[mine] = _launched[number, handle.id, spec.module, spec.name, call.key] = handle
    return handle


_NUMBERS: WeakKeyDictionary[Engine, int] = WeakKeyDictionary()
_launched: WeakValueDictionary[tuple[int, str | None, str, str, bytes], Handle[Any]] = WeakValueDictionary()
"""By engine, id (if one was given), script, workflow and inputs."""
_tasks: set[asyncio.Task[Any]] = set()
"""The runs in event loops, which would not be kept alive otherwise."""


def _launch_task(
    engine: Engine, call: Call, spec: Spec, id: str | None, loop: asyncio.AbstractEventLoop
) -> Handle[Any] | None:
    """In a task of the loop that runs here, which is where the caller's locks and connections are."""
    from concurrent.futures import Future

    ids: list[str] = []
    running = engine.begin_in_loop(call, script=spec.file, id=id, began=ids.append)
    if running is None:
        return None
    future: Future[Any] = Future()
    task = loop.create_task(running, name=f"perdure-{spec.name}")
    _tasks.add(task)

    def ended(task: asyncio.Task[Any]) -> None:
        _tasks.discard(task)
        if task.cancelled():
            future.cancel()
        elif (error := task.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    task.add_done_callback(ended)
    return Handle(ids[0], engine, future, spec=spec, loop=loop)


def _launch_thread(engine: Engine, call: Call, spec: Spec, id: str | None) -> Handle[Any]:
    from concurrent.futures import Future

    taken: Future[str] = Future()
    future: Future[Any] = Future()

    def work() -> None:
        try:
            result = _run(engine, call, spec, id=id, began=taken.set_result)
        except BaseException as error:  # noqa: BLE001  `Handle.result` raises it
            (future if taken.done() else taken).set_exception(error)
        else:
            future.set_result(result)

    _spawn(work, spec)
    return Handle(taken.result(), engine, future, spec=spec)


def _spawn(work: Callable[[], None], spec: Spec) -> None:
    import threading

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"perdure-{spec.name}").start()


def _run(engine: Engine, call: Call, spec: Spec, **options: Any) -> Any:
    """Run a workflow to its end in this thread."""
    if not spec.is_async:
        return engine.run(call, script=spec.file, attach=True, **options)
    import asyncio

    return asyncio.run(engine.arun(call, script=spec.file, attach=True, **options))


class _Attached:
    """A run that another process executes, or another call of this one; started here too.

    Args:
        engine: where it is kept.
        call: what was called.
        spec: the workflow.
        id: the run.
        loop: the event loop of the caller of an async workflow, in which the run goes on if it does so here.
    """

    def __init__(self, engine: Engine, call: Call, spec: Spec, id: str, loop: asyncio.AbstractEventLoop | None) -> None:
        from concurrent.futures import Future

        self._engine = engine
        self._call = call
        self._spec = spec
        self._id = id
        self._loop = loop
        self._context = contextvars.copy_context()
        self._future: Future[Any] = Future()
        self.handle: Handle[Any] = Handle(id, engine, self._future, spec=spec, loop=loop)
        self._wait()

    def _wait(self) -> None:
        self._engine.ending(self._id, or_left=True).add_done_callback(self._look)

    def _look(self, ending: Future[RunRecord]) -> None:
        if ending.exception() is None and ending.result().status == "running":  # no process executes it any more
            self._go_on()
        else:
            put_outcome(self._future, ending, self._spec)

    def _go_on(self) -> None:
        """Go on with the run here, unless another process is faster. Called in a thread that must not wait."""
        if self._loop is None:
            self._context.run(_spawn, self._work, self._spec)
            return
        try:
            self._loop.call_soon_threadsafe(self._begin_task, context=self._context)
        except RuntimeError as error:  # the loop has been closed
            self._future.set_exception(error)

    def _work(self) -> None:
        try:
            result = _run(self._engine, self._call, self._spec, resume=self._id)
        except UnderWay:
            self._wait()
        except BaseException as error:  # noqa: BLE001  `Handle.result` raises it
            self._future.set_exception(error)
        else:
            self._future.set_result(result)

    def _begin_task(self) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._work_in_loop(), name=f"perdure-{self._spec.name}")
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    async def _work_in_loop(self) -> None:
        import asyncio

        try:
            result = await self._engine.arun(self._call, script=self._spec.file, resume=self._id, attach=True)
        except UnderWay:
            self._wait()
        except asyncio.CancelledError:
            self._future.cancel()
            raise
        except BaseException as error:
            self._future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            self._future.set_result(result)
