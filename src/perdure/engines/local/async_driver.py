"""Performs the core's effects on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.core.execution.branch import busy
from perdure.core.execution.call import Failed
from perdure.core.execution.cleanup import unwind
from perdure.core.execution.effects import (
    Acquit,
    Admit,
    Branch,
    Execute,
    Guarded,
    Load,
    Outcome,
    Report,
    Save,
    SaveAttempt,
    Settle,
    Wait,
)
from perdure.core.execution.redrive import Resolve
from perdure.core.execution.run import Begin, Body, End, Forget, Recall, StandBy, Unwind
from perdure.core.execution.spec import Call
from perdure.engines.events import AttemptStarted, attempt_ended, notify_parked, notify_wait
from perdure.engines.interface import StepContext, here
from perdure.engines.local.async_commit import Gate, Gates
from perdure.engines.local.scope import LocalScope
from perdure.engines.registry import find_step
from perdure.engines.runtime.timeouts import bounded
from perdure.engines.runtime.tracebacks import from_user_code
from perdure.errors import StateError, StopRun
from perdure.store import crashes
from perdure.store.dead_letters import resolve

if TYPE_CHECKING:
    from perdure.engines.local.engine import LocalEngine

Program = Generator[Any, Any, Any]

QUIET_TURNS = 20
BUSY_SECONDS = 30.0
LOOK_SECONDS = 0.005
"""The replay has come to rest when every branch asks for something new, and none has claimed anything for so many turns
of the loop. A branch may also be awaiting something of its own, a request say, before its next call: that is waited
for, but not for ever, since what it awaits may be the branch that asks."""


class TaskDriver:
    """Performs effects by awaiting."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self._gates = Gates(engine.store.journal)

    async def call(self, program: Program, scope: LocalScope) -> Any:
        """A call that the workflow makes: its value, or what it raised."""
        task = asyncio.current_task()
        assert task is not None
        if scope.closed:
            raise asyncio.CancelledError  # the workflow has returned without waiting for this branch
        running = scope.running
        nested = task in running
        running.add(task)
        try:
            end = await self.drive(program, scope)
        finally:
            if not nested:
                running.discard(task)
        if type(end) is Failed:
            raise end.error
        return end.value

    async def drive(self, program: Program, scope: LocalScope | None) -> Any:
        """Carry a decision to its end in the current task.

        Raises:
            StopRun: the run cannot go on.
        """
        send = program.send
        answer: Any = None
        try:
            while True:
                effect = send(answer)
                kind = type(effect)
                if kind is Execute:
                    answer = await self._execute(effect, scope)
                elif kind is Save:
                    answer = None
                    await self._save(effect, scope)
                elif kind is Load:
                    answer = self._engine.sync.load(effect, scope)  # type: ignore[arg-type]
                else:
                    answer = await self._perform(effect, scope)
        except StopIteration as end:
            return end.value
        except StateError as error:
            if scope is None:
                raise
            raise scope.stop(StopRun(error)) from error
        except StopRun as stop:
            if scope is not None:
                scope.stop(stop)
            raise

    async def _perform(self, effect: Any, scope: Any) -> Any:
        engine = self._engine
        store, now = engine.store, engine.world.now
        match effect:
            case Acquit():
                return await self._gates.here().write((), crashes.forget(effect.rid, effect.call))
            case SaveAttempt():
                return await self._gates.here().write((), store.attempt(effect.rid, effect.record))
            case Wait():
                return await self._wait(effect, scope)
            case Admit():
                return engine.sync.admit(effect, scope)
            case Guarded():
                return await self._guarded(effect, scope)
            case Report():
                return engine.sync.report(effect, scope)
            case Settle():
                return await self._settle(effect, scope)
            case Branch():
                return scope.branch()
            case Begin():
                return await self._gates.here().write((), store.begin(effect.start, now()))
            case StandBy():
                engine.sync.told(effect)
                return await engine.world.asleep(effect.seconds)
            case Recall():
                return engine.sync.recall(effect, scope)
            case Body():
                return await self._body(effect, scope)
            case Unwind():
                inner = LocalScope(engine, effect.run, effect.history, None, None)
                return await self.drive(unwind(effect.history, find_step, ok=effect.ok), inner)
            case Forget():
                return await self._gates.here().write((), store.forget(effect))
            case End():
                return await self._end(effect)
            case Resolve():
                return await self._gates.here().write((), resolve(store, effect, now()))
        raise TypeError(f"an effect that nobody performs: {effect!r}")

    def _save(self, effect: Save, scope: Any) -> Awaitable[Any]:
        gate: Gate = scope.gate or self._gates.here()
        scope.gate = gate
        if not effect.letters and not effect.drop:
            return gate.write(effect.rows)
        return self._save_more(effect, scope, gate)

    async def _save_more(self, effect: Save, scope: Any, gate: Gate) -> None:
        letters = self._engine.letters
        parking = await gate.write(effect.rows, letters.saving(effect, scope.run.path, self._engine.world.now()))
        if effect.letters:
            await asyncio.to_thread(letters.parked, parking)  # may have to wait for another process
            notify_parked(self._engine.observer, scope.id, scope.run.workflow, effect, parking.parked)

    async def _execute(self, effect: Execute, scope: Any) -> Outcome:
        """One attempt, in this task."""
        if not effect.call.spec.is_async:
            return self._engine.sync.execute(effect, scope)  # a clean-up, or the undoing of something
        if effect.suspect:
            async with scope.suspects_in_turn():
                return await self._execute(msgspec.structs.replace(effect, suspect=False), scope)
        engine = self._engine
        call = effect.call
        spec = call.spec
        limits = scope.limits
        if engine.world.clock() >= limits.look_at:
            scope.look()
        observer = engine.observer
        if observer is not None:
            observer.notify(AttemptStarted(scope.id, scope.run.workflow, call, effect.attempt))
        now = engine.world.now
        token = here.set(StepContext(scope.id, call, effect.attempt, scope))
        started = now()
        error: Exception | None = None
        value = None
        recorder = engine.vigil.recorder
        slot = None
        if recorder is not None:
            slot = recorder.begin(scope.id, spec.name, call.key, call.n, effect.attempt, started)
        scope.executing += 1
        seconds = spec.timeout if limits.deadline is None else limits.bound(spec.timeout)
        try:
            if spec.isolate:
                value = await self._isolated(effect, scope, seconds)
            elif seconds is None:
                value = await spec.fn(*call.args, **call.kwargs)
            else:
                value = await bounded(spec.fn(*call.args, **call.kwargs), seconds, spec.owner)
        except Exception as raised:  # noqa: BLE001  the step's own error, for the core to judge
            error = from_user_code(raised)
        finally:
            scope.executing -= 1
            here.reset(token)
            if recorder is not None:
                recorder.end(slot, error is None)
        outcome = Outcome(value, error, started, now() - started)
        if observer is not None:
            observer.notify(attempt_ended(scope.id, scope.run.workflow, call, effect.attempt, outcome))
        if error is not None:
            scope.check_late(error)
        return outcome

    async def _guarded(self, effect: Guarded, scope: Any) -> Outcome:
        try:
            return await self._execute(effect.execute, scope)
        except BaseException:
            self._engine.guards.give_back(effect.guard, effect.ticket)
            raise

    async def _isolated(self, effect: Execute, scope: Any, seconds: float | None) -> Any:
        from perdure.engines.runtime.isolated_step import run_isolated

        return await asyncio.to_thread(run_isolated, effect.call, scope.id, effect.attempt, seconds)

    async def _wait(self, effect: Wait, scope: LocalScope) -> None:
        engine = self._engine
        notify_wait(engine.observer, scope.id, scope.run.workflow, effect)
        world = engine.world
        until = world.clock() + effect.seconds
        scope.executing += 1
        try:
            while (left := until - world.clock()) > 0:
                scope.look()
                await world.asleep(scope.limits.bound(min(left, world.slice)) or 0.0)
        finally:
            scope.executing -= 1
        scope.look()

    async def _settle(self, effect: Settle, scope: LocalScope) -> tuple[Call, ...]:
        """Let the other branches claim what is theirs, until none has for a while or nothing is left to claim."""
        entry = (effect.call, scope.branch())
        scope.settling.append(entry)
        try:
            await self._rest(effect.call.spec.name, scope)
            scope.check()  # another branch may have come to rest first, and stopped the run
            return tuple(call for call, _ in scope.settling)
        finally:
            scope.settling.remove(entry)

    async def _rest(self, name: str, scope: LocalScope) -> None:
        history = scope.history
        loop = asyncio.get_running_loop()
        seen, turns, since = history.claims, 0, loop.time()
        while history.unsettled(name):
            await asyncio.sleep(0)
            if history.claims != seen:
                seen, turns, since = history.claims, 0, loop.time()
            turns += 1
            if turns > QUIET_TURNS:
                if loop.time() - since >= self._patience(scope):
                    return
                await asyncio.sleep(LOOK_SECONDS)

    def _patience(self, scope: LocalScope) -> float:
        """How many seconds without a claim are rest."""
        if scope.executing:
            return float("inf")  # a step that runs will end, and its branch go on to other calls
        resting = [branch for _, branch in scope.settling if branch is not None]
        return BUSY_SECONDS if scope.main is not None and busy(scope.main.living, resting) else 0.0

    async def _body(self, effect: Body, scope: LocalScope | None) -> Outcome:
        call, now = effect.call, self._engine.world.now
        inner = LocalScope(self._engine, effect.run, effect.history, call.spec, scope)
        inner.is_async = True
        self._engine.vigil.began(effect.run, call.spec)
        seconds = inner.limits.bound(None)
        token = here.set(inner)
        started = now()
        try:
            try:
                with inner.main_branch():
                    body = call.spec.fn(*call.args, **call.kwargs)
                    if seconds is not None:
                        body = bounded(body, seconds, call.spec.owner, unless=inner.has_children)
                    value = await body
            finally:
                await self._cancel_branches(inner)
            inner.check()
            return Outcome(value, None, started, now() - started)
        except Exception as error:  # noqa: BLE001  the workflow's own error, for the core to write down
            ended = inner.ending or inner.limits.late(error) or from_user_code(error)
            return Outcome(None, ended, started, now() - started)
        except BaseException as stop:
            if inner.ending is not None and not _cancelled_from_outside():
                return Outcome(None, inner.ending, started, now() - started)
            self._engine.stopped(effect.run, inner.stopped or stop)
            self._engine.store.release(effect.run, now())  # it was stopped, not ended: it can be resumed
            inner.check()  # what stopped it first: a task group wraps that into a group of its own
            raise
        finally:
            here.reset(token)

    async def _cancel_branches(self, scope: LocalScope) -> None:
        """The workflow's function is over: what it left running (a gather that failed early) is over as well.

        Nothing may write to the run after it has ended, since somebody else may go on with it then.
        """
        scope.closed = True
        while scope.running:
            branches = list(scope.running)
            for branch in branches:
                branch.cancel()
            await asyncio.wait(branches)

    async def _end(self, effect: End) -> StateError | None:
        engine = self._engine
        try:
            parking = await self._gates.here().write(effect.rows, engine.ending(effect))
        except StateError as trouble:
            engine.not_ended(effect, trouble)
            return trouble
        await asyncio.to_thread(engine.ended, effect, parking)  # it may have to tell somebody
        return None


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
