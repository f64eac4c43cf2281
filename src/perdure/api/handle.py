"""A run that goes on in a thread of its own."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from perdure.core.execution.spec import Call, Spec
from perdure.core.records import RunStatus
from perdure.engines.interface import Engine

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")


class Handle(Generic[T]):
    """A run that `Workflow.start` has started in a thread of its own.

    `handle.result()` waits for its end in sync code, `await handle` in async code.

    Attributes:
        id: the id of the run, as `perdure ps` lists it.
    """

    id: str

    def __init__(self, id: str, engine: Engine, future: Future[T]) -> None:
        self.id = id
        self._engine = engine
        self._future = future

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
            Exception: what the workflow raised.
        """
        return self._future.result(timeout)

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the end of the run without blocking the event loop: `result = await handle`.

        Raises:
            Exception: what the workflow raised.
        """
        import asyncio

        return asyncio.wrap_future(self._future).__await__()

    def __repr__(self) -> str:
        return f"<run {self.id!r}>"


def launch(engine: Engine, call: Call, spec: Spec, id: str | None) -> Handle[Any]:
    """Run a workflow in a thread of its own; returns as soon as the run is registered in the state file."""
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
