"""An event loop for async workflow functions: asyncio's own, whose only source of events is Temporal.

It runs on the function's thread. Where another loop would wait for sockets, this one hands over to Temporal's loop
until a step has ended or a timer is due, so the same events come in the same order when the workflow is replayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from perdure.engines.temporal.lockstep_thread import LockstepThread, Ticket, Unwound
from perdure.errors import UsageError

TURNS = 100
"""Turns of the loop that what is left of an unwound workflow gets to clean up."""


class _Events:
    """Stands where asyncio expects a selector."""

    def __init__(self, thread: LockstepThread) -> None:
        self._thread = thread
        self.closing = False

    def select(self, timeout: float | None) -> list[Any]:
        """Wait for Temporal."""
        if not self.closing and (timeout is None or timeout > 0):
            self._thread.wait(None if timeout is None else self._thread.now + timeout)
        return []


class LockstepEventLoop(asyncio.BaseEventLoop):
    """The loop of one workflow function."""

    def __init__(self, thread: LockstepThread) -> None:
        super().__init__()
        self._thread = thread
        self._selector = _Events(thread)

    def time(self) -> float:
        """The time of day; it stands still while the function computes."""
        return self._thread.now

    def await_ticket(self, ticket: Ticket) -> asyncio.Future[Any]:
        """A future of an operation that was just handed over; cancelling it withdraws the operation."""
        future: asyncio.Future[Any] = self.create_future()

        def on_done(ticket: Ticket) -> None:
            if future.done():
                return
            if ticket.error is None:
                future.set_result(ticket.value)
            elif isinstance(ticket.error, asyncio.CancelledError):
                future.cancel()
            else:
                future.set_exception(ticket.error)

        ticket.on_done = on_done
        future.add_done_callback(lambda ended: self._thread.cancel(ticket) if ended.cancelled() else None)
        return future

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end: its value, or what it raised."""
        try:
            return self.run_until_complete(main)
        finally:
            self._wind_up()

    def _wind_up(self) -> None:
        self._selector.closing = True
        self.set_exception_handler(lambda loop, context: None)
        for _ in range(TURNS):
            left = asyncio.all_tasks(self)
            if not left:
                break
            for task in left:
                task.cancel()
            self.call_soon(self.stop)
            try:
                self.run_forever()
            except (Unwound, SystemExit, KeyboardInterrupt):
                continue
        self.close()

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none: Temporal's events have been delivered already."""

    def _write_to_self(self) -> None:
        """This loop is not woken from outside."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> NoReturn:  # type: ignore[override]
        """Refused: what a thread does would not be done again in the same order."""
        raise UsageError(
            "a workflow that runs on a cluster cannot use threads itself (asyncio.to_thread, run_in_executor)",
            "make a step of what is to run there",
        )
