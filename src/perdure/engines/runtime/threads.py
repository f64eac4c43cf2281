"""Pool threads that can be abandoned.

A thread that is stuck in a call cannot be stopped. So the work does not belong to the thread: a decision (a generator
of effects) is carried by one thread until that is stuck, and by another from there on. The stuck one finds out when it
comes back, discards what it brings, and ends.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from perdure.engines.runtime.forked_copies import end_if_copy
from perdure.engines.runtime.timeouts import Abandoned, Monitor

Task = Callable[[], None]


class _Thread:
    def __init__(self, pool: Pool, task: Task) -> None:
        self.task: Task | None = task
        self.wake = threading.Lock()
        self.wake.acquire()
        self.pool = pool
        threading.Thread(target=self.loop, name="perdure-pool", daemon=True).start()

    def loop(self) -> None:
        while True:
            task, self.task = self.task, None
            assert task is not None
            try:
                task()
            except Abandoned:
                return
            end_if_copy(self.pool.process)
            del task
            self.pool.idle.append(self)
            self.wake.acquire()


class Pool:
    """Threads that wait for work, and as many more as it takes."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.idle: deque[_Thread] = deque()
        self.monitor = Monitor()

    def spawn(self, task: Task) -> None:
        """Run the task in a pool thread. It reports its errors itself."""
        try:
            thread: _Thread | None = self.idle.pop()
        except IndexError:
            thread = None
        if thread is None:  # not within the `except`: a Ctrl-C would name the IndexError as its context
            _Thread(self, task)
            return
        thread.task = task
        thread.wake.release()


class _InPool(threading.local):
    handoff: Any = None


in_pool = _InPool()
"""The decision that the current pool thread carries; None on any other thread."""
