"""The slots of an executor: threads on which the runs that it has claimed are executed, and their ends gathered."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

from perdure.core.execution.run_effects import Taken
from perdure.engines.local.closing import Closing
from perdure.engines.local.worker.waker import Waker
from perdure.engines.runtime.forked_copies import end_if_copy


class Over(NamedTuple):
    """A run whose function is over."""

    taken: Taken
    closing: Closing


class Slots:
    """Executes runs, each on a thread; with one slot, on that of who starts it.

    Args:
        number: how many runs are executed at a time.
        carry: executes a run up to what is to be written of its end.
        left: what becomes of a run that an exception has left.
        changed: a run is over, so that there may be something to claim.
        waker: wakes who writes ends and claims.
    """

    def __init__(
        self,
        number: int,
        carry: Callable[[Taken], Closing],
        left: Callable[[Taken, BaseException], None],
        changed: Callable[[], None],
        waker: Waker,
    ) -> None:
        self.number = number
        self._carry, self._left, self._changed, self._waker = carry, left, changed, waker
        self._process = os.getpid()
        self.active: dict[int, Taken] = {}
        self._waiting: SimpleQueue[Taken | Over] = SimpleQueue()  # for a thread
        self._over: deque[Over] = deque()  # to be written
        self._threads = 0

    def take_over(self) -> list[Over]:
        """The runs that are over since the last time."""
        over = []
        while self._over:
            over.append(self._over.popleft())
        return over

    def start(self, taken: Taken) -> None:
        """Execute a run that is claimed."""
        self.active[taken.run.rid] = taken
        if self.number == 1:
            self._execute(taken)
        else:
            self._hand_out(taken)

    def finish(self, over: Over) -> None:
        """The end of a run is written, or could not be; who is to be alerted may take a while."""
        if over.closing.plain or self.number == 1:
            self._close(over)
        else:
            self._hand_out(over)

    def _hand_out(self, job: Taken | Over) -> None:
        self._waiting.put(job)
        if self._threads < self.number and self._threads < len(self.active):
            self._threads += 1
            threading.Thread(target=self._serve, name=f"perdure-slot-{self._threads}", daemon=True).start()

    def _serve(self) -> None:
        while True:
            job = self._waiting.get()
            if self._over and self._waiting.empty():  # it was left to this thread, see below
                self._waker.set()
            if isinstance(job, Over):
                self._close(job)
            else:
                self._execute(job)

    def _execute(self, taken: Taken) -> None:
        try:
            closing = self._carry(taken)
        except BaseException as error:  # noqa: BLE001  whatever it is, the process goes on with other runs
            end_if_copy(self._process)
            self._left(taken, error)
            self._settle(taken)
        else:
            self._over.append(Over(taken, closing))
            self._changed()
            if self._waiting.empty():  # else whoever takes the last of these sees to it: ends are written together
                self._waker.set()

    def _close(self, over: Over) -> None:
        try:
            over.closing.finish()
        except BaseException as error:  # noqa: BLE001
            self._left(over.taken, error)
        self._settle(over.taken)

    def _settle(self, taken: Taken) -> None:
        self.active.pop(taken.run.rid, None)
        self._changed()
        self._waker.set()
