"""The engine of one machine."""

from __future__ import annotations

import atexit
import math
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.config.os_errors import own_files
from perdure.core.execution.run import Life, call_off, live, up_to_end
from perdure.core.execution.run_effects import Body, End, Start, Taken
from perdure.core.execution.spec import Call, Spec
from perdure.core.execution.spending import Bounds
from perdure.core.records import RunRecord, RunStatus
from perdure.engines.events import Observer
from perdure.engines.interface import Began, Cancellation, Enqueued, refuse_child, under_way
from perdure.engines.local import notices
from perdure.engines.local.broken_off import LettingGo
from perdure.engines.local.drivers import LocalDrivers
from perdure.engines.local.limits import NEVER
from perdure.engines.local.outside import Outside, result
from perdure.engines.local.resources import Resources
from perdure.engines.local.run_ends import ends_at
from perdure.engines.local.run_lifecycle import queued_runs, start_of
from perdure.engines.local.scope import LocalScope
from perdure.engines.runtime.clock import World
from perdure.errors import PerdureError, StateCorrupt, StateError, StopRun
from perdure.store.runs import Store

if TYPE_CHECKING:
    from concurrent.futures import Future

    from perdure.core.declared_schedule import DeclaredSchedule
    from perdure.engines.features import Capabilities
    from perdure.engines.local.closing import Closing


class LocalEngine:
    """Runs workflows in this process.

    Args:
        path: the state file; made if missing.
        world: time, randomness and ids.
        vfs: a registered SQLite VFS, for tests that inject faults.

    Raises:
        StateError: the file cannot be used.
    """

    def __init__(self, path: Path, *, world: World | None = None, vfs: str | None = None) -> None:
        self.resources = Resources(path, world=world, vfs=vfs)
        self.drivers = LocalDrivers(self.resources)

    @property
    def capabilities(self) -> Capabilities:
        """What the engine of one machine can do."""
        from perdure.engines.features import LOCAL

        return LOCAL

    @property
    def state_file(self) -> Path | None:
        """The state file of its runs."""
        return self.store.path

    @property
    def store(self) -> Store:
        """The state file."""
        return self.resources.store

    @property
    def world(self) -> World:
        """Time, randomness and ids."""
        return self.resources.world

    @property
    def observer(self) -> Observer | None:
        """Notified of what happens in the runs."""
        return self.resources.observer

    @observer.setter
    def observer(self, observer: Observer | None) -> None:
        self.resources.observer = observer

    def run(
        self,
        call: Call,
        *,
        script: str,
        id: str | None = None,
        resume: str | None = None,
        began: Began | None = None,
        attach: bool = False,
    ) -> Any:
        """Run a sync workflow to its end: start it, resume it, or return the result that its id already has.

        Args:
            call: the workflow's function and arguments.
            script: the path of the script that it is in.
            id: exactly one run under this id, ever.
            resume: the id of a run to go on with, whatever its inputs.
            began: called with the id of the run as soon as it is taken.
            attach: a run that is under way is not an error of the user's.

        Raises:
            UnderWay: with `attach`, it is executed already.
            AlreadyRunning: another process has it.
            OtherInputs: the id stands for a run with other inputs.
            Drift: the script was edited so that a completed step would be called with other inputs.
            StateError: the state file cannot be used.
            Exception: whatever the workflow raises.
        """
        self.resources.monitor.ready(call.spec)
        with Outside(self.resources, call):
            with self._own_files():
                start = start_of(self.resources, call, script, id, resume, attach=attach)
            with LettingGo(self.resources, start, began) as letting:
                with self._own_files():
                    end = self.drivers.sync.drive(live(call, start, letting.began), None)
                return result(end)

    async def arun(
        self,
        call: Call,
        *,
        script: str,
        id: str | None = None,
        resume: str | None = None,
        began: Began | None = None,
        attach: bool = False,
    ) -> Any:
        """Run an async workflow to its end, as `run` does."""
        self.resources.monitor.ready(call.spec)
        with Outside(self.resources, call):
            with self._own_files():
                start = start_of(self.resources, call, script, id, resume, attach=attach)
            with LettingGo(self.resources, start, began) as letting:
                with self._own_files():
                    end = await self.drivers.tasks.drive(live(call, start, letting.began), None)
                return result(end)

    def carry_on(self, call: Call, taken: Taken) -> Closing:
        """Execute a run that this process has taken already, on this thread, up to what is to be written of its end.

        Args:
            call: the workflow's function, and the inputs that the run was started with.
            taken: the run, from `store.claims`.

        Raises:
            Suspended: it waits for something.
            Released: it is given back.
            StateError: the state file cannot be used.
        """
        run, spec = taken.run, call.spec
        self.resources.monitor.ready(spec)
        with Outside(self.resources, call):
            start = Start(run.script, run.path, run.workflow, run.key, run.input, fresh="", rid=run.rid)
            life = live(call, start, None, taken)
            with LettingGo(self.resources, start), self._own_files():
                effect, rest = self._up_to_end(up_to_end(life, run), spec.is_async)
        from perdure.engines.local.closing import Closing

        return Closing(self.resources, effect, rest, Outside(self.resources, call))

    def _up_to_end(self, life: Generator[Any, Any, tuple[End, Life]], is_async: bool) -> tuple[End, Life]:
        if not is_async:
            return self.drivers.sync.drive(life, None)  # type: ignore[no-any-return]
        import asyncio

        return asyncio.run(self.drivers.tasks.drive(life, None))  # type: ignore[no-any-return]

    def leave(self) -> None:
        """Have each run of this process given back to the workers, at its next safe point."""
        self.resources.leaving = True
        for scope in list(under_way.values()):
            if isinstance(scope, LocalScope):
                scope.limits.look_at = -NEVER

    def begin_in_loop(self, call: Call, *, script: str, id: str | None, began: Began) -> Coroutine[Any, Any, Any]:
        """Begin an async run before this returns; the coroutine carries it on, in the caller's event loop.

        Raises:
            UnderWay: it is executed already.
            AlreadyRunning, OtherInputs, StateError: as `run` does.
        """
        self.resources.monitor.ready(call.spec)
        with Outside(self.resources, call):
            with self._own_files():
                start = start_of(self.resources, call, script, id, None, attach=True)
            with LettingGo(self.resources, start, began) as letting, self._own_files():
                rest = self.drivers.sync.until(live(call, start, letting.began), Body)

        async def go_on() -> Any:
            with Outside(self.resources, call), letting:
                with self._own_files():
                    end = await self.drivers.tasks.drive(rest, None)
                return result(end)

        return go_on()

    def enqueue(self, calls: Sequence[Call], how: Enqueued) -> list[str]:
        """Put runs of one workflow into a queue, all or none of them; returns their ids when they are on the disk.

        Raises:
            OtherInputs: the id stands for a run with other inputs.
            StateError: the state file cannot be used.
        """
        resources = self.resources
        with Outside(self.resources, calls[0]), self._own_files():
            from perdure.engines.local.queues import declare_queues

            declare_queues(resources.store, resources.world.now())
            queued = queued_runs(resources, calls, how)
            ids: list[str] = resources.store.journal.write((), resources.store.enqueue(queued, resources.world.now()))
            return ids

    def _own_files(self) -> own_files:
        return own_files(self.resources.store.path)

    def call_off(self, run: RunRecord) -> list[str] | None:
        """End a run for good that no process executes, with its clean-ups; the script has been loaded, if there is one.

        Returns:
            What could not be cleaned up, a line each; None if a process executes it after all, or it has ended.

        Raises:
            StateError: a record of it is damaged, or cannot be written.
        """
        start = Start(run.script, run.path, run.workflow, run.key, run.input, fresh="", rid=run.rid, ends=True)
        try:
            with self.drivers.sync.loop:
                return self.drivers.sync.drive(call_off(start), None)  # type: ignore[no-any-return]
        except StopRun as stop:
            raise stop.error from stop.error.__cause__

    def status(self, id: str) -> RunStatus:
        """How a run stands.

        Raises:
            NotFound: there is no such run.
        """
        return self.store.run(id).status

    def ending(self, id: str, *, or_left: bool = False) -> Future[RunRecord]:
        """The end of a run, whichever process executes it; with `or_left`, or that none does so."""
        return ends_at(self.store.path).ending(id, or_left=or_left)

    def records(self, reference: str | None = None, most: int | None = None) -> AbstractContextManager[Store]:
        """The records of all runs, in the state file of this engine."""
        return nullcontext(self.store)

    def declare_schedule(self, spec: Spec, given: DeclaredSchedule) -> None:
        """Write down a schedule of a workflow; it is in the file when this returns.

        Raises:
            OptionError: no worker can load the workflow, or its time zone is not known here.
            StateError: the file cannot be used.
        """
        from perdure.engines.local.schedules import declare

        declare(self.store, spec, given, self.world.now())

    def cancel(self, id: str, load: Callable[[RunRecord], str | None]) -> Cancellation:
        """Ask a run to end; one that no process executes is ended here, with its clean-ups.

        Args:
            id: the run.
            load: loads the script of a run, so that its steps are known, and returns its path if that is not the run's.
                Whatever it raises, the run is ended.

        Raises:
            NotFound: there is no such run.
            UsageError: it is a child run.
            RunError: it is superseded by its fork.
            AlreadyRunning: a dead letter of it is being re-driven, and no process executes it.
            StateError: the state file cannot be used.
        """
        try:
            return self._cancel(id, load)
        except StateCorrupt as error:
            from perdure.core.execution.run_refusals import with_way_out

            raise with_way_out(error, id) from error.__cause__

    def _cancel(self, id: str, load: Callable[[RunRecord], str | None]) -> Cancellation:
        run = self.store.run(id)
        refuse_child(id, run.parent)
        if run.superseded and run.superseded_by is not None:
            from perdure.core.execution.run_refusals import superseded

            raise superseded(run, self.store.run_by_number(run.superseded_by))
        found, by = self.store.ask_to_stop(id, self.world.now())
        if by is not None:
            return Cancellation(found.status, "requested", by.pid)
        if found.status in ("done", "cancelled"):
            return Cancellation(found.status, "none")
        missed: list[str] = []
        path = run.path
        try:
            path = load(run) or path
        except Exception as error:  # noqa: BLE001  a script that is gone or broken must not keep a run from its end
            cause = error.what if isinstance(error, PerdureError) else repr(error)
            missed.append(f"its script could not be loaded: {cause}")
        try:
            unclean = self.call_off(msgspec.structs.replace(found, path=path))
        except StateError as error:
            from perdure.core.exceptions import notes

            notes.add(error, f"perdure: that run {id} is to end is in the file: it does when it is gone on with next")
            raise
        if unclean is None:
            return self._cancel(id, load)  # another process was faster
        unclean += notices.left_parked(self.resources, found)
        return Cancellation(found.status, "ended", None, [*missed, *unclean] if unclean else [])

    def accept_changes(self, run: RunRecord) -> None:
        """When that run is gone on with next, its records are not held against the edited script."""
        if self.store.holding(run) is None:
            self.store.accept(run.rid)

    def raise_bounds(self, run: RunRecord, bounds: Bounds) -> None:
        """The budgets of that run may spend so much from now on, where that is more than they say."""
        self.store.raise_bounds(run.rid, bounds)

    def raised_any(self, run: RunRecord) -> bool | None:
        """Was a bound higher that way when this process executed that run? None if another one executes it."""
        if run.rid in self.resources.raised:
            return True
        return None if self.store.holding(run) is not None else False

    def stay(self) -> None:
        """From now on, a run that only waits is not left: this process stays until it is done."""
        self.resources.suspend_after = math.inf

    def close(self) -> None:
        """Close the state file and let go of the lock."""
        self.resources.close()


class _EngineWorld:
    """The time that engines are made with: `now` is None for the system's; tests put another one here."""

    now: World | None = None


engine_world = _EngineWorld()
_engines: dict[Path, LocalEngine] = {}
_lock = threading.Lock()


def engine_at(path: Path) -> LocalEngine:
    """The engine of this process for that state file; there is never more than one.

    Raises:
        StateError: the file cannot be used.
    """
    with _lock:
        engine = _engines.get(path)
        if engine is None:
            engine = _engines[path] = LocalEngine(path, world=engine_world.now)
        return engine


def close_at(path: Path) -> None:
    """Close that state file, if this process has it open."""
    engine = _engines.pop(path, None)
    if engine is not None:
        engine.close()


def close_all() -> None:
    """Close every state file of this process."""
    while _engines:
        _engines.popitem()[1].close()


def _after_fork() -> None:
    # A SQLite connection must not cross a fork, and a copied descriptor would keep the lock of a dead parent alive.
    global _lock
    _lock = threading.Lock()
    for scope in under_way.values():
        scope.forked = scope.shared = True
    under_way.clear()
    for engine in _engines.values():
        engine.resources.close_in_child()
        _orphans.append(engine)
    _engines.clear()


_orphans: list[LocalEngine] = []
"""Kept in a forked child, so that the parent's connections are not closed in it."""

atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
