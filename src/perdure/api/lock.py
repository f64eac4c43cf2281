"""`perdure.lock`: named locks, `with perdure.lock("nightly"):`, in a script, a workflow or a step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import isfinite
from types import TracebackType
from typing import TYPE_CHECKING

from perdure.api.options import checked_if_locked, checked_lock
from perdure.config.script_loader import stop_load
from perdure.config.stderr_line import say
from perdure.config.steady_clock import steady
from perdure.core.durations import Duration, seconds
from perdure.core.exceptions import notes
from perdure.core.execution.already_running import describe_locked
from perdure.core.execution.run_effects import Locked
from perdure.core.execution.spec import IfLocked
from perdure.core.redaction.printable import one_line
from perdure.engines.interface import StepContext, here
from perdure.errors import AlreadyRunning, OptionError, Skipped, StateError, UsageError

if TYPE_CHECKING:
    from perdure.store.locks import Asker
    from perdure.store.runs import Store

PAUSES = (0.01, 0.02, 0.05, 0.1)
"""Seconds between two tries to take it; the last value repeats."""


class HeldLock:
    """The lock that a block holds: `with perdure.lock("nightly") as held:`.

    Attributes:
        name: of the lock.
        fence: a fencing token, greater with each acquisition by any process. Send it with every write to a service that
            refuses a smaller number than it has seen: a process that has lost the lock without knowing it (stopped,
            its lock file removed) can then do no harm. (Kleppmann, "How to do distributed locking", 2016.)
    """

    name: str
    fence: int

    def __init__(self, name: str, fence: int, store: Store) -> None:
        self.name = name
        self.fence = fence
        self._store = store

    def confirm(self) -> None:
        """Check that this process still holds the lock.

        Raises:
            LockLost: another process has taken it over.
            StateError: the state file cannot be read.
        """
        if not self._store.journal.read(self._store.locks.confirm(self.name, self.fence)):
            from perdure.store.locks import lost

            raise lost(self.name)

    def __repr__(self) -> str:
        return f"<lock {self.name!r}, fence {self.fence}>"


class lock:  # noqa: N801  used like a function
    """A named lock: `with perdure.lock("nightly"):`, or `async with`.

    One block at a time holds the lock, among all threads and tasks of this process and all processes on the same state
    file. Workflows with `lock="nightly"` take the same lock: their runs share it within a process, and a block excludes
    them, except for a block inside of such a run, and a run that is called inside of the block. The lock is reentrant
    for the thread or task that holds it. When a process dies, its locks are free at once.

    Inside of a run the state file is the run's; else it is that of the script that Python was started with.

    Args:
        name: of the lock.
        if_locked: what to do if another one holds it. "fail": raise AlreadyRunning. "wait": wait until it is free, with
            a line on standard error that names the holder. "skip": print the holder and end the script with exit code
            0, by raising Skipped; inside of a run, where no script can end, as "fail".
        timeout: with "wait", the longest wait before AlreadyRunning is raised: seconds, a timedelta or "30s". None: no
            bound.

    Raises:
        OptionError: an option is not valid, or the engine is a cluster, which has no locks.
        AlreadyRunning: another block, run or process holds it.
        UsageError: a step in another process asks for the lock of its own run.
        LockLost: at the end of the block, if another process took the lock over meanwhile.
        StateError: the state file cannot be used.
    """

    def __init__(self, name: str, *, if_locked: IfLocked = "fail", timeout: Duration | None = None) -> None:
        self._name = checked_lock(name)
        self._if_locked = checked_if_locked(if_locked)
        if timeout is not None and if_locked != "wait":
            raise OptionError(f"lock {name!r} has a timeout but does not wait", 'add if_locked="wait"')
        self._timeout = None if timeout is None else seconds(timeout, option="timeout")
        self._entered: list[tuple[HeldLock, int]] = []  # and the process that did

    def __enter__(self) -> HeldLock:
        """Take the lock. Waiting blocks the thread.

        Raises:
            AlreadyRunning: another one holds it.
        """
        for pause in self._pauses():
            time.sleep(pause)
        return self._entered[-1][0]

    async def __aenter__(self) -> HeldLock:
        """Take the lock for this task. Waiting does not block the event loop.

        Raises:
            AlreadyRunning: another one holds it.
        """
        import asyncio

        for pause in self._pauses():
            await asyncio.sleep(pause)
        return self._entered[-1][0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the lock.

        Raises:
            LockLost: another process took it over meanwhile.
        """
        held, process = self._entered.pop()
        if process != os.getpid():
            return  # a forked child leaves the block that its parent entered
        store = held._store
        operation = store.locks.exit(self._name)
        if operation is None:
            return
        try:
            store.journal.write((), operation)
        except StateError as trouble:
            store.locks.abandon(self._name)
            if error is None:
                raise
            notes.add(error, f"perdure: {trouble}")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the lock.

        Raises:
            LockLost: another process took it over meanwhile.
        """
        self.__exit__(kind, error, traceback)

    def _pauses(self) -> Iterator[float]:
        """Take the lock; yields the seconds to wait before each further try."""
        if here.get() is None:
            stop_load(f"takes lock {self._name!r}")
        store, who = _caller()
        fence = store.locks.again(self._name, who)
        if fence is None:
            began = steady()
            looks, over = 0, _nothing
            try:
                while isinstance(answer := store.journal.write((), store.enter(self._name, who, time.time())), Locked):
                    self._refuse_own(answer)
                    left = self._left(answer, began)
                    if looks == 0:
                        say(f"perdure: waiting: {one_line(describe_locked(answer))}")
                        over = _shown_waiting(f"lock {self._name!r}", left)
                    yield min(PAUSES[min(looks, len(PAUSES) - 1)], left)
                    looks += 1
            finally:
                over()
            fence = answer
        self._entered.append((HeldLock(self._name, fence, store), os.getpid()))

    def _refuse_own(self, answer: Locked) -> None:
        """Do not wait for the very run that waits for this.

        Raises:
            UsageError: the caller is a step in another process, and its run has the lock.
        """
        context = here.get()
        if answer.run is None or not isinstance(context, StepContext) or context.scope is not None:
            return
        id = answer.run.id
        if context.run_id == id or context.run_id.startswith(f"{id}."):  # a child run
            raise UsageError(
                f"lock {self._name!r} is taken by run {id} itself, and its step {context.call.spec.name!r} is executed "
                "in another process",
                "leave the block out, since the run has the lock; or let the step be executed without isolate= and "
                "processes=",
            )

    def _left(self, answer: Locked, began: float) -> float:
        """The seconds that are left to wait.

        Raises:
            AlreadyRunning: there is no time left, or the caller does not wait.
        """
        what = describe_locked(answer)
        if self._if_locked == "skip" and here.get() is None:
            say(f"perdure: {one_line(what)}; skipped")
            raise Skipped(what, "do nothing: the holder goes on; `perdure ps` shows it")
        if self._if_locked != "wait":
            raise AlreadyRunning(what, 'run again when it is free, or wait for it: if_locked="wait"')
        left = float("inf") if self._timeout is None else self._timeout - (steady() - began)
        if left <= 0:
            raise AlreadyRunning(f"{what}; it was not free in time", "see what it does with `perdure ps`")
        return left


def _shown_waiting(reason: str, left: float) -> Callable[[], None]:
    """Have it seen from outside that a run, or a step of it, waits; what is returned is called when that is over."""
    from perdure.api.caller import scope_of_caller

    scope, context = scope_of_caller(), here.get()
    recorder = None if scope is None else scope.resources.monitor.recorder
    if scope is None or recorder is None:
        return _nothing
    call = context.call if isinstance(context, StepContext) else None
    now = scope.world.now()
    until = now + left if isfinite(left) else 0.0
    name, key, n = ("", bytes(16), 0) if call is None else (call.spec.name, call.key, call.n)
    attempt = context.attempt if isinstance(context, StepContext) else 0
    return partial(recorder.waited, recorder.wait(scope.id, name, key, n, attempt, now, until, reason))


def _nothing() -> None:
    pass


def _caller() -> tuple[Store, Asker]:
    """The store that has the locks of the caller, and the caller as the store identifies it."""
    from perdure.api.caller import resources_of_caller, scope_of_caller
    from perdure.engines.features import Feature
    from perdure.store.locks import asker

    scope = scope_of_caller()
    if scope is not None:
        return scope.resources.store, asker(scope.resources.store.lineage(scope.run.rid))
    return resources_of_caller(Feature.NAMED_LOCK).store, asker()
