"""One life of a workflow under test, in a process of its own: it runs until it ends, or is killed at a point."""

from __future__ import annotations

import datetime
import gc
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.crashtest.answers import Answers, Given
from perdure.crashtest.arguments import Unfit, parsed
from perdure.crashtest.kept_rows import MOST, kept_rows
from perdure.crashtest.outcome import LastAttempts, Outcome, classes_of, error_text, failed_clean_ups, over_budget
from perdure.crashtest.points import Point
from perdure.errors import HasDeadLetters, NotFound, PerdureError, StateError

if TYPE_CHECKING:
    from perdure.store.bell import Ear
    from perdure.store.runs import Store

RUN_ID = "crashtest"
"""The id of every run that is tried, so that its idempotency keys are the same each time."""

NAP = 0.002
"""Seconds that a wait of the engine takes instead of its own time."""


class Order(msgspec.Struct, frozen=True):
    """What a life is to do.

    Attributes:
        script: the copy of the script.
        workflow: which of its workflows; None: the only one.
        arguments: as on a command line.
        folder: the copy of the user's folder.
        cwd: where it is started.
        scratch: what may be written to beside the folder: state, notes, temporary files.
        notes: the file to which points, effects and the outcome are appended.
        kill: where to die.
        shift: seconds that the time of day is off.
        hosts, programs: as of `Effects`.
        stubs: results of steps that are not executed, by name.
        given: what is sent to the run when it waits for it.
    """

    script: str
    workflow: str | None
    arguments: list[str]
    folder: str
    cwd: str
    scratch: str
    notes: str
    kill: Point | None = None
    shift: float = 0
    hosts: list[str] = []
    programs: list[str] = []
    stubs: dict[str, Any] = {}
    given: Given = Given()


class Note(msgspec.Struct, omit_defaults=True):
    """A line of the notes: exactly one of them is set."""

    point: Point | None = None
    effect: dict[str, Any] | None = None
    refusal: dict[str, Any] | None = None
    outcome: Outcome | None = None


class HurriedWorld:
    """The real world, but that waits are over at once, and the clock is then where it would be after them.

    What a durable wait is for is sent instead, if there is something (`answers`).

    A life a day later is later for the script alone (`shift_clock`): the timeout of its run would be over otherwise.
    """

    slice = float("inf")

    def __init__(self) -> None:
        from perdure.engines.runtime.clock import RealWorld

        self._real = RealWorld()
        self._ahead = 0.0
        self.uniform = self._real.uniform
        self.new_id = self._real.new_id
        self.answers: Answers | None = None

    def now(self) -> float:
        """The time of day."""
        return _time() + self._ahead

    def clock(self) -> float:
        """Seconds that only grow."""
        return _monotonic() + self._ahead

    def sleep(self, seconds: float) -> None:
        """Wait for a moment; whoever waits beside this one is not pushed further than it asked for."""
        until = self.clock() + seconds
        _sleep(min(seconds, NAP))
        self._ahead += max(0.0, until - self.clock())

    async def asleep(self, seconds: float) -> None:
        """Wait for a moment, for one task."""
        import asyncio

        until = self.clock() + seconds
        await asyncio.sleep(min(seconds, NAP))
        self._ahead += max(0.0, until - self.clock())

    def rest(self, ear: Ear, seconds: float) -> None:
        """Wait for a moment in a durable wait; what has no time of its own is waited for as it comes."""
        if self.answers is None or not self.answers.give():
            self.sleep(seconds) if math.isfinite(seconds) else ear.wait(NAP)

    async def arest(self, ear: Ear, seconds: float) -> None:
        """The same for one task."""
        if self.answers is None or not self.answers.give():
            await self.asleep(seconds) if math.isfinite(seconds) else await ear.await_ring(NAP)


_time, _monotonic, _sleep = time.time, time.monotonic, time.sleep


def main() -> None:
    """Live one life, in a fresh interpreter; the order is the first argument."""
    live(msgspec.json.decode(sys.argv[1], type=Order))


def live(order: Order) -> None:
    """Carry out an order. What the process imported before is shared by all lives of a fork server."""
    from perdure.crashtest import clients
    from perdure.crashtest.effects import Effect, Effects, Refusal
    from perdure.crashtest.points import Points

    sys.argv[:] = [order.script, *order.arguments]
    out = os.open(order.notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(entry: Note) -> None:
        os.write(out, msgspec.json.encode(entry) + b"\n")

    def saw(entry: Effect | Refusal) -> None:
        fields = msgspec.structs.asdict(entry)
        note(Note(effect=fields) if isinstance(entry, Effect) else Note(refusal=fields))

    points = Points(order.kill, lambda point: note(Note(point=point)))
    os.chdir(order.cwd)
    effects = Effects(
        Path(order.folder),
        [Path(order.folder), Path(order.scratch)],
        order.hosts,
        order.programs,
        saw,
        points.reached,
    )
    if order.shift:
        shift_clock(order.shift)
    clients.watch(effects)
    effects.install()
    note(Note(outcome=_run(order, points.commit)))


def _run(order: Order, commit: Callable[[Any, bool], None]) -> Outcome:
    from perdure.engines.local import engine as local

    attempts = LastAttempts()
    outcome = _ended(order, commit, attempts)
    engine = local._engines.get(Path(order.scratch, "state", "state.db"))
    if outcome.end not in ("done", "failed", "over") or engine is None:
        return outcome
    try:
        runs = engine.store.runs(most=MOST)
        kept = kept_rows(engine.store, runs, RUN_ID, order.given.signals.__contains__)
        if outcome.end == "over":
            return msgspec.structs.replace(outcome, kept=kept)
        queued = [run.workflow for run in runs if run.status == "queued"]
        missing = list(engine.resources.world.answers.missing)  # type: ignore[attr-defined]
        return msgspec.structs.replace(
            outcome,
            queued=queued,
            over_budget=over_budget(engine.store, RUN_ID, outcome),
            missing=missing,
            clean_ups=failed_clean_ups(engine.store, RUN_ID),
            failures=list(attempts.failed.values()),
            kept=kept,
        )
    except StateError:  # what has ended it
        return outcome


def _ended(order: Order, commit: Callable[[Any, bool], None], attempts: LastAttempts) -> Outcome:
    from perdure.core.execution.spec import spec_of
    from perdure.engines.local import engine as local
    from perdure.operations.location import locate
    from perdure.operations.run import Execution
    from perdure.operations.scripts import find_workflow

    execution = None
    try:
        state = Path(order.scratch, "state", "state.db")
        world = HurriedWorld()
        engine = local._engines[state] = local.LocalEngine(state, world=world)
        world.answers = Answers(engine.store, RUN_ID, order.given, world.now)
        engine.resources.suspend_after = math.inf  # a wait is over at once
        engine.resources.starts_again = False  # an end that a kill broke off is written, and is the end
        # Processes are killed, and the machine is not: nothing has to outlive it.
        engine.store.journal.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))
        engine.store.journal.around = commit
        workflow = find_workflow(Path(order.script), order.workflow)
        replace(order.stubs)
        args, kwargs = parsed(spec_of(workflow), order.arguments)
        execution = Execution(workflow, locate(state), attempts)
        if _has_failed(engine.store):
            return Outcome("over")
        done = execution.run(args, kwargs, RUN_ID)
    except Unfit as unfit:
        return Outcome("unusable", error=str(unfit), hint=unfit.hint)
    except PerdureError as error:
        began = execution is not None and execution.run_id is not None
        text, returned = error_text(error), isinstance(error, HasDeadLetters) and error.returned
        end = "failed" if began else "unusable"
        return Outcome(end, error=text, classes=classes_of(error), code=error.code, hint=error.hint, returned=returned)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001  a sys.exit in the workflow too
        began = execution is not None and execution.run_id is not None
        return Outcome("failed" if began else "unusable", error=error_text(error), classes=classes_of(error))
    return Outcome("done", msgspec.json.encode(done.result).decode(), dead_letters=done.dead_letters)


def _has_failed(store: Store) -> bool:
    """Has the run of the life before come to its end? A failed one is not gone on with: that would be another start."""
    try:
        return store.run(RUN_ID).status in ("failed", "parked")
    except NotFound:
        return False


def replace(stubs: dict[str, Any]) -> None:
    """Replace steps by their results; steps with a process of their own are executed in this one, where they are seen.

    Raises:
        NotFound: there is no step of that name.
    """
    from perdure.engines import registry
    from perdure.engines.processes import worker_pool

    worker_pool.enabled = False
    for name, result in stubs.items():
        specs = registry.steps_named(name)
        if not specs:
            raise NotFound(f"--stub names a step that the script does not define: {name!r}", "name it as @step does")
        for spec in specs:
            spec.fn = _returning(result, spec.is_async)
    for spec in registry.every("step"):
        spec.isolate = False


def _returning(result: Any, is_async: bool) -> Callable[..., Any]:
    async def astub(*args: Any, **kwargs: Any) -> Any:
        return result

    def stub(*args: Any, **kwargs: Any) -> Any:
        return result

    return astub if is_async else stub


def shift_clock(seconds: float) -> None:
    """Let this process believe that it is later: in `time`, and in the classes of `datetime` themselves.

    The classes stay the same objects, so that values keep their exact types. Only for processes that are thrown away.
    """
    moment, day = datetime.datetime, datetime.date
    now, utcnow = moment.now, moment.utcnow
    shifted = datetime.timedelta(seconds=seconds)
    time.time = lambda: _time() + seconds
    time_ns = time.time_ns
    time.time_ns = lambda: time_ns() + int(seconds * 1e9)
    for name in ("localtime", "gmtime", "ctime"):
        real = getattr(time, name)
        setattr(time, name, lambda at=None, real=real: real(time.time() if at is None else at))
    strftime = time.strftime
    time.strftime = lambda form, at=None: strftime(form, time.localtime() if at is None else at)
    _put(
        moment,
        "now",
        classmethod(lambda cls, tz=None: (now(datetime.UTC) + shifted).astimezone(tz) if tz else now() + shifted),
    )
    _put(moment, "utcnow", classmethod(lambda cls: utcnow() + shifted))
    _put(moment, "today", classmethod(lambda cls: now() + shifted))
    _put(day, "today", classmethod(lambda cls: (now() + shifted).date()))


def _put(cls: type, name: str, method: Any) -> None:
    import ctypes

    (names,) = gc.get_referents(cls.__dict__)  # the dict behind the read-only view of a class written in C
    names[name] = method
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))
