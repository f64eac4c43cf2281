"""One attempt of a step, and the wait for the next: what happens around both, whichever driver makes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext

from perdure.config.os_errors import note_used_up
from perdure.core.exceptions.exits import is_exit
from perdure.core.execution.effects import Execute, Outcome, Wait
from perdure.core.execution.spec import Call
from perdure.engines.events import AttemptStarted, attempt_ended, notify_wait
from perdure.engines.interface import StepContext, here
from perdure.engines.local import notices
from perdure.engines.local.resources import Resources
from perdure.engines.local.scope import LocalScope
from perdure.engines.runtime.timeouts import Abandoned
from perdure.errors import StopRun
from perdure.store.flight_recorder import Slot


class Attempt:
    """An attempt that is under way; making one begins it.

    `effect` is what is tried, `seconds` how long it may take, None without a bound. Not a context manager: that would
    cost each step a microsecond. Whoever makes one calls `leave` should anything come out.

    Args:
        resources: the state file and what goes with it.
        effect: what is tried.
        scope: the run.

    Raises:
        StopRun: the time of the run is over, or it is cancelled.
    """

    __slots__ = (
        "_at",
        "_call",
        "_clock",
        "_context",
        "_observer",
        "_recorder",
        "_scope",
        "_started",
        "_token",
        "effect",
        "seconds",
    )

    def __init__(self, resources: Resources, effect: Execute, scope: LocalScope) -> None:
        world, limits = resources.world, scope.limits
        at = world.clock()
        if at >= limits.look_at:
            scope.look()
        if scope.left is not None:
            notices.goes_past(scope.id, *scope.left)
            scope.left = None
        call = effect.call
        spec = call.spec
        self.effect = effect
        self._call = call
        self._scope = scope
        self._observer = observer = resources.observer
        if observer is not None:
            observer.notify(AttemptStarted(scope.id, scope.run.workflow, call, effect.attempt))
        self._at = at
        self._clock = world.clock
        self._context = context = StepContext(scope.id, call, effect.attempt, scope)
        self._token = here.set(context)
        self._started = started = world.now()
        self._recorder = recorder = resources.monitor.recorder
        if recorder is not None:
            if call.extras is None or call.extras.label is None:
                context.slot = recorder.begin(scope.id, spec.name, call.key, call.n, effect.attempt, started)
            else:
                context.slot = recorder.begin(
                    scope.id, spec.name, call.key, call.n, effect.attempt, started, call.extras.label
                )
        self.seconds = spec.timeout if limits.deadline is None else limits.bound(spec.timeout)

    @property
    def slot(self) -> Slot:
        """Its place in the flight recorder."""
        return self._context.slot

    def end(self, value: object, error: Exception | None) -> Outcome:
        """The step's function has returned `value`, or raised `error`.

        Raises:
            StopRun: it ran out of time because the run did, so it is the run that has failed.
        """
        here.reset(self._token)
        if error is not None:
            self._scope.resources.spare.make_room()  # before a module is loaded
            from perdure.engines.runtime.tracebacks import from_user_code

            error = from_user_code(error)
            note_used_up(error)
        if self._context.lines is not None:
            self._context.lines.end()
        if error is not None:  # here, since most attempts do not fail
            from perdure.engines.runtime.error_bodies import keep_bodies

            keep_bodies(error)
        recorder = self._recorder
        if recorder is not None:
            recorder.end(self._context.slot, error is None)
        at = self._at
        outcome = Outcome(value, error, self._started, self._clock() - at, at=at)
        if self._call.spending is not None or self._call.ledgers:
            self._scope.spending.save(self._call, outcome.seconds, ok=error is None)
        observer = self._observer
        if observer is not None:
            run, effect = self._scope.run, self.effect
            observer.notify(attempt_ended(run.id, run.workflow, effect.call, effect.attempt, outcome))
        if error is not None:
            outcome.program = self._context.program
            _end_programs(self._call)
            self._scope.check_late(error)
        return outcome

    def break_off(self, error: BaseException, *, recorded: bool) -> None:
        """The step's function was left by what is not an Exception; `recorded`: in the flight recorder it has ended."""
        from perdure.store.lives import Cut

        here.reset(self._token)
        if not isinstance(error, _ENDS) and type(error).__name__ != "CancelledError":
            from perdure.engines.runtime.ctrl_c import noting_interrupt

            with noting_interrupt():
                self._left_by(error)
        if self._context.lines is not None:
            self._context.lines.end()
        call = self._call
        _end_programs(call)
        if recorded:
            return
        if call.spending is not None or call.ledgers:
            self._scope.spending.save(call, self._clock() - self._at, ok=False)
        self._scope.cut_off(Cut(call.spec.name, call.key, call.n, self.effect.attempt, self._started))
        if self._recorder is not None:
            self._recorder.end(self._context.slot, done=True)

    def _left_by(self, error: BaseException) -> None:
        """The workflow may handle that, and go on: an exit, such as Ctrl-C, is kept as a failure is."""
        scope, call = self._scope, self._call
        scope.exits.append(error)
        if not scope.in_function or call.spec.record_kind != "step" or not is_exit(type(error)):
            scope.left = call.spec.owner, type(error).__name__
            return
        left = call, error, self._started, self._clock() - self._at, self.effect.attempt
        if self.effect.parked or (call.extras is not None and call.extras.batch is not None):
            scope.left_items.append(left)  # an item: its map says so, when no other one is under way
            return
        with scope.deciding or nullcontext():
            scope.history.left_by_exit(*left)


_ENDS = (StopRun, Abandoned, GeneratorExit)
"""What leaves a step because its run, or its branch, is over: the workflow does not handle that and go on."""


def leave(effect: Execute, scope: LocalScope) -> None:
    """Something has left an attempt: the thread is inside of it no more, also if Ctrl-C came between two lines of ours.

    It comes as the attempt begins, say, or as its function has returned, where nothing else notices.
    """
    inside = here.get()
    if type(inside) is StepContext and inside.call is effect.call:
        here.set(scope if scope.in_function else scope.outside)
        recorder = scope.resources.monitor.recorder
        if recorder is not None and inside.slot is not None:
            recorder.end(inside.slot, done=True)


def given_up(resources: Resources, effect: Execute, scope: LocalScope, slot: Slot, outcome: Outcome) -> None:
    """An attempt is over, although its thread does not know yet."""
    _end_programs(effect.call)
    if effect.call.spending is not None or effect.call.ledgers:
        scope.spending.save(effect.call, outcome.seconds, ok=False)
    if resources.monitor.recorder is not None:
        resources.monitor.recorder.end(slot, done=False)
    if resources.observer is not None:
        resources.observer.notify(attempt_ended(scope.id, scope.run.workflow, effect.call, effect.attempt, outcome))
    if effect.alone:
        scope.suspects.leave(effect)


def _end_programs(call: Call) -> None:
    """End what `perdure.sh` has started for an attempt that is over, and Ctrl-C, say, has left behind."""
    end = getattr(sys.modules.get("perdure.engines.runtime.command"), "end_programs", None)
    if end is not None:  # else it runs no program: the module is not loaded, or another thread is about to
        end(call)


def pauses(resources: Resources, effect: Wait, scope: LocalScope) -> Iterator[float]:
    """The seconds of each sleep that a wait consists of; between them, the run may be ended.

    Raises:
        StopRun: the time of the run is over, or it is cancelled.
    """
    if not effect.noted:
        notify_wait(resources.observer, scope.id, scope.run.workflow, effect)
        notices.waits(resources, effect)
    world = resources.world
    left = effect.seconds
    until = world.clock() + left
    while left > 0:
        scope.look()
        part = scope.limits.bound(min(left, world.slice)) or 0.0
        yield part
        left = min(left - part, until - world.clock())  # what was slept counts, should the clock stand still
    scope.look()
