"""A run is left in its middle by what is no end of it (Ctrl-C, an exit, drift): that is kept, and the run is let go.

Nothing else lets go of it: in this process a call of the same inputs would find it under way for ever, and in others it
would look as if its process had died.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Self

from perdure.config.os_errors import is_used_up
from perdure.config.script_identity import point_out
from perdure.core.exceptions.exits import is_exit
from perdure.core.execution.run_effects import End, Start
from perdure.core.records import RunRecord
from perdure.engines.interface import here, under_way
from perdure.engines.local import notices, run_lifecycle
from perdure.engines.local.resources import Resources
from perdure.engines.local.run_scope import RunScope
from perdure.errors import PerdureError, StateCorrupt, StateError, StopRun, Suspended

if TYPE_CHECKING:
    from perdure.core.execution.root_cause import RootCause
    from perdure.engines.local.scope import LocalScope


def broken_off(resources: Resources, scope: LocalScope, error: BaseException) -> None:
    """Record that the run of a scope was stopped, not ended; it can be resumed, as soon as no thread works on it.

    Args:
        resources: the state file and what goes with it.
        scope: of its function, or of its clean-ups.
        error: what has come out.

    Raises:
        StopRun: it waits for something, and is suspended.
    """
    from perdure.engines.runtime.ctrl_c import noting_interrupt

    with noting_interrupt():
        _broken_off(resources, scope, error)


def broken_off_outside(resources: Resources, run: RunRecord, error: BaseException) -> None:
    """The same for what comes before a run's function and its clean-ups, or after them."""
    from perdure.engines.runtime.ctrl_c import noting_interrupt

    with noting_interrupt():
        _stop(resources, run, error, lambda release: release())
        _note_way_on(resources, run, error)


def broken_off_at_end(resources: Resources, effect: End, error: BaseException) -> None:
    """The same for what comes while the end of a run is written: it may be on the disk."""
    from perdure.engines.runtime.ctrl_c import noting_interrupt

    with noting_interrupt():
        if _status(resources, effect.run.id) == effect.status:
            run_lifecycle.ended(resources, effect, None)
        else:
            _stop(resources, effect.run, error, lambda release: release())
            _note_way_on(resources, effect.run, error)


class LettingGo:
    """Around a call of a workflow: what it has taken is let go also if Ctrl-C comes where nothing else does that.

    It may come between any two lines, such as when a run is taken and its function has not begun. If it comes when the
    run is done, and nobody gets its result, that is said.
    """

    __slots__ = ("_began", "_caller", "_id", "_resources", "_start")

    def __init__(self, resources: Resources, start: Start, began: Callable[[str], None] | None = None) -> None:
        self._resources, self._start, self._caller = resources, start, here.get()
        self._began, self._id = began, ""

    def began(self, id: str) -> None:
        """The run of that id is taken."""
        self._id = id
        if self._began is not None:
            self._began(id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            return
        if isinstance(error, Exception):
            if not (isinstance(error, StateError) and is_used_up(error.__cause__)):
                return
            self._resources.spare.make_room()
        if self._resources.store.has_taken():
            here.set(self._caller)
            _let_go(self._resources, self._start, error)
        if self._id and not isinstance(error, StopRun | StateError):
            _say_if_done(self._resources, self._id, error)


def _let_go(resources: Resources, start: Start, error: BaseException) -> None:
    from perdure.engines.runtime.ctrl_c import noting_interrupt

    scopes = [(key, scope) for key, scope in list(under_way.items()) if isinstance(scope, RunScope)]
    others = {scope.run.rid for _, scope in scopes if scope.is_async or scope.ident != get_ident()}
    others |= resources.letting_go
    from perdure.store.rows import ENDED

    with noting_interrupt(), suppress(StateError):  # after a fork the runs are the parent's
        left = [run for run in resources.store.taken_for(start) if run.rid not in others]
        for run in left:
            if run.status in ENDED:  # the end is on the disk
                resources.store.let_go(run)
                resources.monitor.suspended(run)
                continue
            _stop(resources, run, error, lambda release: release())
            _note_way_on(resources, run, error)
        for key, scope in scopes:
            if any(scope.run.rid == run.rid for run in left):
                under_way.pop(key, None)


def _status(resources: Resources, id: str) -> str:
    with suppress(StateError):
        return resources.store.run(id).status
    return ""


def _say_if_done(resources: Resources, id: str, error: BaseException) -> None:
    from perdure.core.commands import located
    from perdure.engines.runtime.ctrl_c import noting_interrupt

    with noting_interrupt():
        if _status(resources, id) == "done":
            way = located(f"perdure resume {shlex.quote(id)}", resources.option)
            text = f"is done, and its result was not returned; print it: {way}"
            _note_way_on(resources, resources.store.run(id), error, text)


def _broken_off(resources: Resources, scope: LocalScope, error: BaseException) -> None:
    run, stopped = scope.run, scope.stopped
    if stopped is not None and isinstance(stopped.error, Suspended):
        run_lifecycle.suspended(resources, run, stopped.error)
        scope.check()
    # As after a failure, what it was left for is no history: the step gets its chance.
    cause = _cause(scope, error) if scope.in_function and stopped is None else None
    _stop(resources, run, error if stopped is None else stopped, scope.holds.then, cause, scope)
    if not scope.abandoned and stopped is None:
        _note_way_on(resources, run, error)


def _cause(scope: LocalScope, error: BaseException) -> RootCause | None:
    if is_exit(type(error)):
        return cause_of_exit(scope, error)
    starts = [seq + 1 for seq in scope.cut_short] + ([] if scope.cut_from is None else [scope.cut_from])
    if not starts or type(error).__name__ != "CancelledError":
        return None
    from perdure.core.execution.root_cause import RootCause  # of no run that goes well

    # Cancelled from outside, as asyncio does for Ctrl-C: the calls that were given up for that get their chance too.
    first, last = min(starts), int(scope.history.last)
    return RootCause(tuple(scope.cut_short), replayed=False, aftermath=(first, last) if first <= last else None)


def cause_of_exit(scope: LocalScope, error: BaseException) -> RootCause:
    """Which failures the function of a scope was left for by an exit."""
    from perdure.engines.runtime.ctrl_c import is_interrupt

    return scope.history.root_cause(error, scope.exits, is_interrupt)


def _stop(
    resources: Resources,
    run: RunRecord,
    error: BaseException,
    then: Callable[[Callable[[], None]], None],
    cause: RootCause | None = None,
    scope: LocalScope | None = None,
) -> None:
    if isinstance(error, StopRun) and isinstance(error.error, StateCorrupt) and run.parent is None:
        from perdure.core.execution.run_refusals import with_way_out

        with_way_out(error.error, run.id)
    run_lifecycle.stopped(resources, run, error)
    resources.letting_go.add(run.rid)
    cut = () if scope is None else scope.cut
    stops = isinstance(error, StopRun) and run.parent is None
    store, now = resources.store, resources.world.now
    if stops and run_lifecycle.is_release(error):
        then(lambda: _give_back(resources, run, scope))
        return
    stop = run_lifecycle.stop_of(run, error, now())
    keep = resources.gives_back and stops
    cause_of_stop = error.error if isinstance(error, StopRun) and stops else None
    code = cause_of_stop.code if isinstance(cause_of_stop, PerdureError) else ""

    def release() -> None:
        resources.letting_go.discard(run.rid)
        store.release(run, now(), stop, cut, cause, keep=keep, code=code)

    then(release)


def _give_back(resources: Resources, run: RunRecord, scope: LocalScope | None) -> None:
    from perdure.store.claims import give_back

    resources.letting_go.discard(run.rid)
    with suppress(StateError):  # its process ends, which frees it
        give_back(resources.store, run, resources.world.now(), cut=() if scope is None else scope.cut)


def _note_way_on(resources: Resources, run: RunRecord, error: BaseException, done: str = "") -> None:
    """Say how to go on: below the error that the script ends with, or at once if it may end without a word."""
    from perdure.engines.runtime.ctrl_c import ctrl_c_in_loop

    if run.parent is not None or isinstance(error, StopRun | StateError):
        return
    text = f"perdure: run {run.id} {done or 'is interrupted; run the script again to go on from here'}"
    if not isinstance(error, SystemExit | GeneratorExit) and type(error).__name__ != "CancelledError":
        from perdure.core.exceptions import notes

        notes.add(error, text)
    elif resources.is_shown:
        return
    elif ctrl_c_in_loop():
        from perdure.engines.runtime.ctrl_c import say_below_traceback

        say_below_traceback(text)  # the loop raises a KeyboardInterrupt of its own, which takes no notes from here
    elif done:
        point_out(text.removeprefix("perdure: "))
    else:
        notices.left(run, error)
