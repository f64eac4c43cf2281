"""A run that goes on beside the caller: in a thread of its own, or in a task of the caller's event loop."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from perdure.core.execution.spec import Call, Spec
from perdure.core.records import RunStatus
from perdure.engines.interface import Engine
from perdure.errors import UsageError

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

T = TypeVar("T")


class Handle(Generic[T]):
    """A run that `Workflow.start` has started.

    `handle.result()` waits for its end in sync code, `await handle` in async code.

    Attributes:
        id: the id of the run, as `perdure ps` lists it.
    """

    id: str

    def __init__(self, id: str, engine: Engine, future: Future[T], task: asyncio.Task[T] | None = None) -> None:
        self.id = id
        self._engine = engine
        self._future = future
        self._task = task

    def status(self) -> RunStatus:
        """The status of the run as the state file has it: "running", "failed", "parked", "done" or "cancelled".

        Raises:
            StateError: the state file cannot be read.
        """
        return self._engine.status(self.id)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end of the run, and return what the workflow returned.

        Args:
            timeout: seconds to wait at most; None: no bound.

        Raises:
            TimeoutError: the run has not ended by then; it goes on.
            UsageError: called in the event loop that executes the run.
            Exception: what the workflow raised.
        """
        if self._task is not None and not self._future.done() and _in_loop():
            import asyncio

            if self._task.get_loop() is asyncio.get_running_loop():
                raise UsageError(
                    f"result() of run {self.id} was called in the event loop that executes it, which would wait for "
                    "ever",
                    "use `result = await handle`",
                )
        return self._future.result(timeout)

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the end of the run without blocking the event loop: `result = await handle`.

        Raises:
            Exception: what the workflow raised.
        """
        import asyncio

        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def __repr__(self) -> str:
        return f"<run {self.id!r}>"


def launch(engine: Engine, call: Call, spec: Spec, id: str | None) -> Handle[Any]:
    """Begin a run, and let it go on beside the caller; returns as soon as the run is registered in the state file.

    A run that this process has launched before and still executes is not begun again: its handle is returned.
    """
    number = _NUMBERS.setdefault(engine, len(_NUMBERS))
    mine = (number, id, spec.module, spec.name, call.key)
    known = _launched.get(mine)
    if known is not None and not known._future.done():
        return known
    if spec.is_async and _in_loop():
        handle = _launch_task(engine, call, spec, id) or _launch_thread(engine, call, spec, id)
    else:
        handle = _launch_thread(engine, call, spec, id)
    _launched[mine] = _launched[number, handle.id, spec.module, spec.name, call.key] = handle
    return handle


_NUMBERS: WeakKeyDictionary[Engine, int] = WeakKeyDictionary()
_launched: WeakValueDictionary[tuple[int, str | None, str, str, bytes], Handle[Any]] = WeakValueDictionary()
"""By engine, id (if one was given), script, workflow and inputs."""
_tasks: set[asyncio.Task[Any]] = set()
"""The runs in event loops, which would not be kept alive otherwise."""


def _in_loop() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _launch_task(engine: Engine, call: Call, spec: Spec, id: str | None) -> Handle[Any] | None:
    """In a task of the loop that runs here, which is where the caller's locks and connections are."""
    import asyncio
    from concurrent.futures import Future

    ids: list[str] = []
    running = engine.begin_in_loop(call, script=spec.file, id=id, began=ids.append)
    if running is None:
        return None
    future: Future[Any] = Future()
    task = asyncio.get_running_loop().create_task(running, name=f"perdure-{spec.name}")
    handle: Handle[Any] = Handle(ids[0], engine, future, task)
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
    return handle


def _launch_thread(engine: Engine, call: Call, spec: Spec, id: str | None) -> Handle[Any]:
    import contextvars
    import threading
    from concurrent.futures import Future

    taken: Future[str] = Future()
    future: Future[Any] = Future()

    def work() -> None:
        try:
            if spec.is_async:
                import asyncio

                result = asyncio.run(engine.arun(call, script=spec.file, id=id, began=taken.set_result))
            else:
                result = engine.run(call, script=spec.file, id=id, began=taken.set_result)
        except BaseException as error:  # noqa: BLE001  `Handle.result` raises it
            (future if taken.done() else taken).set_exception(error)
        else:
            future.set_result(result)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"perdure-{spec.name}").start()
    return Handle(taken.result(), engine, future)
