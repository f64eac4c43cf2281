"""A run that goes on in a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from perdure.core.execution.spec import Call, Spec
from perdure.core.records import RunStatus
from perdure.engines.interface import Engine

T = TypeVar("T")


class Handle(Generic[T]):
    """A run that was started: `handle.result()` waits for it, as does `await handle`.

    `id` is the id of the run.
    """

    def __init__(self, id: str, engine: Engine, future: Future[T]) -> None:
        self.id = id
        self._engine = engine
        self._future = future

    def status(self) -> RunStatus:
        """How the run stands: "running", "failed", "done" or "cancelled".

        Raises:
            StateError: the state file cannot be read.
        """
        return self._engine.status(self.id)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end of the run.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.

        Raises:
            TimeoutError: it has not ended by then; it goes on.
            Exception: whatever the workflow raises.
        """
        return self._future.result(timeout)

    def __await__(self) -> Generator[Any, Any, T]:
        return asyncio.wrap_future(self._future).__await__()

    def __repr__(self) -> str:
        return f"<run {self.id!r}>"


def launch(engine: Engine, call: Call, spec: Spec, id: str | None) -> Handle[Any]:
    """Run a workflow in a thread of its own; returns as soon as the run is taken."""
    taken: Future[str] = Future()
    future: Future[Any] = Future()

    def work() -> None:
        try:
            if spec.is_async:
                result = asyncio.run(engine.arun(call, script=spec.file, id=id, began=taken.set_result))
            else:
                result = engine.run(call, script=spec.file, id=id, began=taken.set_result)
        except BaseException as error:  # noqa: BLE001  whoever asks for the result gets it
            (future if taken.done() else taken).set_exception(error)
        else:
            future.set_result(result)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"perdure-{spec.name}").start()
    return Handle(taken.result(), engine, future)
