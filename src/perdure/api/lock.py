"""Locks by name: `with perdure.lock("nightly"):`, in a script, a workflow or a step."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from perdure.api.workflow import checked_if_locked, checked_lock
from perdure.config import settings
from perdure.core.durations import Duration, seconds
from perdure.core.execution.run import Locked, describe_locked
from perdure.core.execution.spec import IfLocked
from perdure.core.redaction.printable import one_line
from perdure.engines.interface import StepContext, here, script_around
from perdure.errors import AlreadyRunning, OptionError, Skipped, StateError

if TYPE_CHECKING:
    from perdure.store.locks import Asker
    from perdure.store.runs import Store

PAUSES = (0.01, 0.02, 0.05, 0.1)
"""Seconds between two looks at who has it; the last one again and again."""


class HeldLock:
    """A lock that this block has.

    `name` is the lock's; `fence` a number that is greater with each acquisition, by whomever: a service that is given
    it with every write, and refuses a smaller one than it has seen, is safe from a process that has lost the lock
    without knowing (a stopped one, say, whose lock file somebody removed).
    """

    def __init__(self, name: str, fence: int, store: Store) -> None:
        self.name = name
        self.fence = fence
        self._store = store

    def confirm(self) -> None:
        """Look whether this process still has the lock.

        Raises:
            LockLost: another one has taken it over.
            StateError: the state file cannot be read.
        """
        if not self._store.journal.read(self._store.locks.confirm(self.name, self.fence)):
            from perdure.store.locks import lost

            raise lost(self.name)

    def __repr__(self) -> str:
        return f"<lock {self.name!r}, fence {self.fence}>"


class lock:  # noqa: N801  used like a function
    """Keep everybody else out: `with perdure.lock("nightly"):`, or `async with`.

    One block at a time has the lock: of all threads and tasks of this process, and of all processes that use the same
    state file. It is the lock of workflows with `lock="nightly"` too: their runs share it within a process, a block is
    kept apart from them (but one inside of such a run comes through, as does a run that is called inside of the block).
    The thread or task that has a lock may take it again. A process that dies, however it dies, has let go.

    The state file is the one of the run, inside of a run; else that of the script that Python was started with.

    Args:
        name: which lock.
        if_locked: what to do if somebody has it: "fail" (raise AlreadyRunning), "wait" (until it is free, with a line
            on standard error that says who has it), or "skip": print who has it, and end the script with exit code 0,
            by raising Skipped. Inside of a run there is nothing to skip to: as "fail".
        timeout: how long to wait at most: seconds, a timedelta or "30s"; AlreadyRunning is raised then. None: for ever.

    Raises:
        OptionError: an option is not valid, or the settings name a cluster, which has no locks.
        AlreadyRunning: somebody else has it.
        LockLost: at the end of the block: somebody else has had the lock meanwhile.
        StateError: the state file cannot be used.
    """

    def __init__(self, name: str, *, if_locked: IfLocked = "fail", timeout: Duration | None = None) -> None:
        self.name = checked_lock(name)
        self._if_locked = checked_if_locked(if_locked)
        if timeout is not None and if_locked != "wait":
            raise OptionError(f"lock {name!r} has a timeout, and does not wait", 'say if_locked="wait" too')
        self._timeout = None if timeout is None else seconds(timeout, option="timeout")
        self._entered: list[tuple[HeldLock, int]] = []  # and the process that did

    def __enter__(self) -> HeldLock:
        """Take it.

        Raises:
            AlreadyRunning: somebody else has it.
        """
        for pause in self._pauses():
            time.sleep(pause)
        return self._entered[-1][0]

    async def __aenter__(self) -> HeldLock:
        """Take it, for this task.

        Raises:
            AlreadyRunning: somebody else has it.
        """
        import asyncio

        for pause in self._pauses():
            await asyncio.sleep(pause)
        return self._entered[-1][0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let it go.

        Raises:
            LockLost: somebody else has had it meanwhile.
        """
        held, process = self._entered.pop()
        if process != os.getpid():
            return  # a forked child leaves the block that its parent entered
        store = held._store
        operation = store.locks.exit(self.name)
        if operation is None:
            return
        try:
            store.journal.write((), operation)
        except StateError as trouble:
            store.locks.abandon(self.name)
            if error is None:
                raise
            error.add_note(f"perdure: {trouble}")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let it go.

        Raises:
            LockLost: somebody else has had it meanwhile.
        """
        self.__exit__(kind, error, traceback)

    def _pauses(self) -> Iterator[float]:
        """Take the lock, with a pause, in seconds, wherever it has to be waited for."""
        store, who = _caller()
        fence = store.locks.again(self.name, who)
        if fence is None:
            began = time.monotonic()
            looks = 0
            while isinstance(answer := store.journal.write((), store.enter(self.name, who, time.time())), Locked):
                left = self._left(answer, began)
                if looks == 0:
                    print(f"perdure: waiting: {one_line(describe_locked(answer))}", file=sys.stderr, flush=True)
                yield min(PAUSES[min(looks, len(PAUSES) - 1)], left)
                looks += 1
            fence = answer
        self._entered.append((HeldLock(self.name, fence, store), os.getpid()))

    def _left(self, answer: Locked, began: float) -> float:
        """For how many seconds it is still to be waited for.

        Raises:
            AlreadyRunning: not at all.
        """
        what = describe_locked(answer)
        if self._if_locked == "skip" and here.get() is None:
            print(f"perdure: {one_line(what)}; skipped", file=sys.stderr)
            raise Skipped(what, "nothing was done; it goes on by itself")
        if self._if_locked != "wait":
            raise AlreadyRunning(what, 'if_locked="wait" waits until it is free')
        left = float("inf") if self._timeout is None else self._timeout - (time.monotonic() - began)
        if left <= 0:
            raise AlreadyRunning(f"{what}; it was not free in time", "see what it does with `perdure ps`")
        return left


def _caller() -> tuple[Store, Asker]:
    """The state file that the caller's locks are in, and who the caller is to it."""
    from perdure.engines.local import engine_at
    from perdure.engines.local.scope import LocalScope
    from perdure.store.locks import asker

    context = here.get()
    scope: Any = context.scope if isinstance(context, StepContext) else context
    if isinstance(scope, LocalScope):
        return scope.engine.store, asker(scope.engine.store.lineage(scope.run.rid))
    script = script_around(context)
    if scope is not None or settings.engine_url(script) != "local":
        raise OptionError(
            "perdure.lock was called on a cluster, which does not have locks: a state file's are of one machine",
            "leave it to an id: of runs with the same with_options(id=...), a cluster executes one at a time",
        )
    return engine_at(settings.state_path(script)).store, asker()
