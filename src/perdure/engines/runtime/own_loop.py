"""An event loop for async steps that are called where none runs: by a redrive, and by clean-ups of sync code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from perdure.engines.runtime.thread_branches import OURS

if TYPE_CHECKING:
    import asyncio


class OwnLoop:
    """A loop on a thread of its own, begun when it is needed, and shared by all that have entered it.

    What one step has left open in the loop, a connection, say, serves the next. The last one to leave ends the loop.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event
        self._thread: threading.Thread

    def __enter__(self) -> OwnLoop:
        with self._lock:
            self._users += 1
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users or self._loop is None:
                return
            loop, self._loop = self._loop, None
        with suppress(RuntimeError):  # an exit has ended it
            loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def run(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Carry a coroutine to its end in the loop, in the caller's context: what it returns, or raises.

        Ctrl-C cancels it, and is raised when it is over.
        """
        over = threading.Event()
        tasks: list[asyncio.Task[Any]] = []

        async def carried() -> tuple[Any, BaseException | None]:
            try:
                return await make(), None
            except BaseException as error:  # noqa: BLE001  an exit that left the task would end the loop
                return None, error

        def begin() -> None:
            tasks.append(loop.create_task(carried()))
            tasks[0].add_done_callback(lambda task: over.set())

        def cancel() -> None:
            if tasks:
                tasks[0].cancel()
            else:
                over.set()  # the interrupt was first

        loop = self._begun()
        try:
            loop.call_soon_threadsafe(begin)
            over.wait()
        except BaseException:
            loop.call_soon_threadsafe(cancel)
            over.wait()
            raise
        value, error = tasks.pop().result()
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # its traceback leads here

    def _begun(self) -> asyncio.AbstractEventLoop:
        import asyncio

        with self._lock:
            if self._loop is None or self._loop.is_closed():
                self._loop, self._over = asyncio.new_event_loop(), asyncio.Event()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop, self._over), name=f"{OURS}-loop", daemon=True
                )
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    import asyncio

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(over.wait())
