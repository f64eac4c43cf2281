"""The workers of a map: processes that make one attempt after another (`map(processes=)`)."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from perdure.core.execution.identity import refuse_names_only
from perdure.core.execution.spec import Call, Spec
from perdure.engines.processes.child_process import ChildProcess
from perdure.engines.processes.template import prepare, start_child

enabled = True
"""False where attempts have to be seen by what surrounds them, as in a crash test: they are made in this process."""


@contextmanager
def workers_of(spec: Spec) -> Iterator[WorkerPool]:
    """The workers of a map over the step, for as long as it takes."""
    pool = WorkerPool(spec)
    try:
        yield pool
    finally:
        pool.close()


class WorkerPool:
    """Keeps the processes that are free. There are as many as attempts are under way at a time.

    `spec` is the step, as the map calls it: a step with `isolate=True` has a process of its own for each attempt in a
    map, too.

    Args:
        spec: the step.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        if enabled and not spec.isolate:
            self.spec = copy.copy(spec)
            self.spec.isolate = True
            self.spec.workers = self
        self._free: deque[ChildProcess] = deque()
        self._closed = False
        self._lock = threading.Lock()
        if self.spec.isolate and spec.stub is None:
            prepare(spec)

    def assign(self, call: Call) -> Call:
        """Have the attempts of a call made here.

        Raises:
            NotStorable: an argument cannot be handed to another process.
        """
        refuse_names_only(call)
        call.spec = self.spec
        return call

    def take(self, spec: Spec, until: float) -> ChildProcess:
        """A process that nobody else asks, started if none is free.

        Raises:
            As `start_child` does.
        """
        while True:
            with self._lock:
                child = self._free.pop() if self._free else None
            if child is None:
                return start_child(spec, until)
            if not child.over:
                return child
            child.close()  # it was ended while it had nothing to do

    def give_back(self, child: ChildProcess) -> None:
        """It has answered, and may be asked again."""
        with self._lock:
            if not self._closed:
                self._free.append(child)
                return
        child.end()

    def close(self) -> None:
        """No more attempts begin: the processes end."""
        with self._lock:
            self._closed = True
            free, self._free = list(self._free), deque()
        for child in free:
            child.stop_asking()
        for child in free:
            child.end()
