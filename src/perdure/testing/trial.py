"""Runs of a test: they crash where the test says, and are resumed, in one process and without waiting."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from perdure.api.step_call import BoundStep
from perdure.core import records
from perdure.core.execution.spec import NOT_STUBBED, Call, Spec, spec_of
from perdure.crashtest.points import Point, Points
from perdure.engines import registry
from perdure.engines.events import AttemptStarted, Event
from perdure.engines.interface import StepContext, here
from perdure.engines.local import engine as local
from perdure.errors import NotFound, OptionError
from perdure.operations.dead_letters import LetterView, Selection, list_letters
from perdure.operations.diagnose import diagnose
from perdure.operations.diagnose_finding import Finding
from perdure.operations.location import locate
from perdure.testing.calls_under_way import CallsUnderWay
from perdure.testing.clock import Clock
from perdure.testing.collected_alerts import CollectingMonitor
from perdure.testing.ledger import Ledger

if TYPE_CHECKING:
    from perdure.alerts.alert import Alert

Where = Literal["before-save", "after-save", "effect"]
WHERE = get_args(Where)
_VARIABLES = ("PERDURE_STATE", "WORKFLOW_STATE_PATH", "PERDURE_ALERTS", "PERDURE_HEARTBEAT", "PERDURE_ENGINE")
_LIMIT = "PERDURE_CRASH_LIMIT"
_AFTER_FIX = (
    "move it out of the `finally`: into a step, or into a perdure.defer, which is done in the life that ends the run"
)
_AFTER_PREVENT = "leave nothing to a `finally` of a workflow that a killed process would have to do"


class Crash(BaseException):
    """The process has crashed: the engine saves nothing more. No `except Exception` of the script's sees it."""


class StepCall(NamedTuple):
    """A call of a step that was executed, not replayed: its arguments, and how many attempts it took."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    attempts: int


class TestRun:
    """What happens in a `durable()` block. Made by it.

    Attributes:
        state: the path of the state file.
        clock: the clock that the engine sees.
        ledger: counts calls of functions that are wrapped.
        alerts: the alerts that were due, in order; none is sent.
        reached: the points that were reached in this life and those before.
        after_crash: what was done after a crash, a line each.
    """

    __test__ = False  # its name begins like that of a test

    def __init__(self, state: Path, clock: Clock, ledger: Ledger) -> None:
        self.state = state
        self.clock = clock
        self.ledger = ledger
        self.alerts: list[Alert] = []
        self.reached: list[Point] = []
        self._attempts: dict[tuple[str, str, bytes, int], list[Call]] = {}
        self._under_way = CallsUnderWay()
        self._crash: Point | None = None
        self._crashed_in: int | None = None
        self._thread = threading.get_ident()
        self.after_crash: list[str] = []
        self._die: Callable[[], None] = self._raise
        self._restore: list[Callable[[], None]] = []
        self._points: Points
        self.restart()

    # -- what happened ------------------------------------------------------------------------------------------------

    def calls(self, step: str | BoundStep[..., Any]) -> list[StepCall]:
        """The calls of a step that were executed, in the order in which they began; also as a clean-up (`undo=`,
        `perdure.defer`).

        Args:
            step: the step, or its name.
        """
        name = _name(step)
        return [
            StepCall(made[0].args, dict(made[0].kwargs), len(made))
            for (_, each, _, _), made in self._attempts.items()
            if each == name
        ]

    def attempts(self, step: str | BoundStep[..., Any]) -> int:
        """How many attempts all calls of a step took."""
        return sum(call.attempts for call in self.calls(step))

    @property
    def dead(self) -> Sequence[LetterView]:
        """The dead letters of all runs."""
        return list_letters(self._engine.store, Selection()).letters

    def findings(self) -> list[Finding]:
        """What is wrong with the runs so far: what `perdure diagnose` says of each, and what was done after a crash.

        The code of the latter is "after-crash": a killed process would not have done it. It is from `finally`, mostly.

        Raises:
            StateError: the state file cannot be read.
        """
        location = locate(self.state)
        store = self._engine.store
        found = [
            Finding("after-crash", "certain", line, [], _AFTER_FIX, _AFTER_PREVENT, []) for line in self.after_crash
        ]
        for run in reversed(store.runs(children=True, most=-1)):
            found += diagnose(store, run, location).findings
        return found

    # -- what is to happen --------------------------------------------------------------------------------------------

    def stub(
        self,
        step: str | BoundStep[..., Any],
        *,
        returns: Any = None,
        raises: BaseException | type[BaseException] | None = None,
        side_effect: Callable[..., Any] | None = None,
        times: int | None = None,
    ) -> None:
        """Replace what a step does, until the block ends.

        Args:
            step: the step, or its name.
            returns: its result.
            raises: raised instead.
            side_effect: called with the arguments instead; its result is the step's.
            times: only for so many executions; the step itself is executed after that. None: always.

        Raises:
            NotFound: no step of that name is defined.
        """
        specs = registry.steps_named(step) if isinstance(step, str) else [_spec(step)]
        if not specs:
            raise _no_step(_name(step))
        left = [times]

        def act(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if left[0] is not None:
                if left[0] <= 0:
                    return NOT_STUBBED
                left[0] -= 1
            if raises is not None:
                raise raises
            return side_effect(*args, **kwargs) if side_effect is not None else returns

        for spec in specs:
            self._replace(spec, act)

    def crash_at(self, step: str | BoundStep[..., Any], n: int = 1, where: Where = "before-save") -> None:
        """Let the process crash; `Crash` comes out of the workflow then.

        Args:
            step: the step, or its name.
            n: at its first record or effect from now on, its second, and so on.
            where: "before-save": executed, and not saved. "after-save": saved, and the workflow has not got the result.
                "effect": a function that the ledger has wrapped has returned.

        Raises:
            NotFound: no step of that name is defined.
            OptionError: there is no such place.
        """
        if isinstance(step, str) and step and not registry.is_known(step, "step"):
            raise _no_step(step)
        if where not in WHERE:
            raise OptionError(f"where is {where!r}", f"give one of {', '.join(map(repr, WHERE))}")
        if n < 1:
            raise OptionError(f"n is {n}", "give 1 or more")
        self.crash_at_point(Point(where, _name(step), n))

    def crash_at_point(self, point: Point) -> None:
        """Let the process crash at a point that was reached in another life."""
        self._crash = point
        self._points = self._new_points()
        self._engine.store.journal.around = self._commit

    def resume(self) -> Any:
        """Begin a new process on the same state, and go on with the newest run that has not ended; returns its result.

        Async workflows are run in an event loop of their own, so it cannot be called in one.

        Raises:
            NotFound: every run has ended.
            Exception: whatever the workflow raises.
        """
        self.restart()
        run = next((each for each in self._engine.store.runs() if each.status in ("running", "failed")), None)
        if run is None:
            raise NotFound("there is no run to resume", "let the workflow crash or fail first")
        specs = [spec for spec in registry.every("workflow") if spec.name == run.workflow]
        if not specs:
            raise NotFound(f"there is no workflow {run.workflow!r}", "import the module that defines it")
        spec = specs[-1]
        args, kwargs = spec.arguments(run.input)
        call = Call(spec, tuple(args), kwargs, run.input, run.key)
        if spec.is_async:
            return asyncio.run(self._engine.arun(call, script=spec.file, resume=run.id))
        return self._engine.run(call, script=spec.file, resume=run.id)

    # -- inside -------------------------------------------------------------------------------------------------------

    def notify(self, event: Event, /) -> None:
        """The engine says what happens."""
        if isinstance(event, AttemptStarted):
            call = event.call
            if self._crashed_in is not None:
                if not self._is_after_crash():
                    raise Crash  # the process is gone, and its other threads with it
                self.after_crash.append(f"step {event.step!r} is executed after the crash")
            name = records.called_step(call.spec.record_kind, event.step)  # a clean-up is a call of its step
            self._attempts.setdefault((event.run, name, call.key, call.n), []).append(call)
            self._under_way.began(event, self.clock.now())

    def close(self) -> None:
        """The block is over."""
        local.close_at(self.state)
        while self._restore:
            self._restore.pop()()

    def die_by(self, die: Callable[[], None]) -> None:
        """What a crash is, instead of raising `Crash`."""
        self._die = die

    @property
    def _engine(self) -> local.LocalEngine:
        return local.engine_at(self.state)

    def restart(self) -> None:
        """Begin a new process on the same state: what the engine has in memory is gone."""
        crashed, self._crashed_in = self._crashed_in is not None, None
        local.close_at(self.state)
        engine = local._engines[self.state] = local.LocalEngine(self.state, world=self.clock)
        # Nothing of it has to outlive the machine.
        engine.store.journal.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))
        engine.resources.monitor = CollectingMonitor(engine, self.alerts)
        engine.observer = self
        engine.store.journal.around = self._commit
        self._crash = None
        self._points = self._new_points()
        self.ledger.returned = self._returned
        if crashed:
            self._under_way.write_down(engine.store, self.clock.now())
        self._under_way = CallsUnderWay()

    def has_failed_for_good(self, id: str) -> bool:
        """Has that run failed? If not, and if it was coming to that, the next call ends it, and begins nothing anew."""
        self._engine.resources.starts_again = False
        found = [run for run in self._engine.store.runs() if run.id == id]
        return bool(found) and found[0].status in ("failed", "parked")

    def _new_points(self) -> Points:
        return Points(self._crash, self.reached.append, self._crash_now)

    def _commit(self, batch: Sequence[Any], done: bool) -> None:
        if self._crashed_in is not None:
            raise Crash
        if done:
            self._under_way.saved(batch)
        self._points.commit(batch, done)

    def _returned(self) -> None:
        context = here.get()
        step = context.call.spec.name if isinstance(context, StepContext) else ""
        if self._crashed_in is None:
            self._points.reached("effect", step)
        elif self._is_after_crash():
            self.after_crash.append(f"an effect of {step or 'the workflow'} after the crash")

    def _is_after_crash(self) -> bool:
        """Is this what the crash has led to, a `finally` for instance, and not another thread that was under way?"""
        handled = sys.exc_info()[1]
        while handled is not None:
            if isinstance(handled, Crash):
                return True
            handled = handled.__context__
        return self._crashed_in == self._thread == threading.get_ident()

    def _crash_now(self) -> None:
        self._crashed_in = threading.get_ident()
        self._die()

    def _raise(self) -> None:
        raise Crash

    def _replace(self, spec: Spec, act: Callable[[tuple[Any, ...], dict[str, Any]], Any]) -> None:
        real, before = spec.fn, spec.stub

        def stub(*args: Any, **kwargs: Any) -> Any:
            made = act(args, kwargs)
            return real(*args, **kwargs) if made is NOT_STUBBED else made

        async def astub(*args: Any, **kwargs: Any) -> Any:
            made = stub(*args, **kwargs)
            return await made if asyncio.iscoroutine(made) else made

        def or_before(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            made = act(args, kwargs)
            return before(args, kwargs) if made is NOT_STUBBED and before is not None else made

        def restore() -> None:
            spec.fn, spec.stub = real, before

        # What is executed in a process of its own is found there by its name, so it has to be asked before.
        spec.fn, spec.stub = functools.wraps(real)(astub if spec.is_async else stub), or_before
        self._restore.append(restore)


def _no_step(name: str) -> NotFound:
    return NotFound(f"there is no step {name!r}", "import the module that defines it before the test names it")


def _name(step: str | BoundStep[..., Any]) -> str:
    return step if isinstance(step, str) else _spec(step).name


def _spec(step: BoundStep[..., Any]) -> Spec:
    spec: Spec | None = spec_of(step)
    if spec is None:
        raise OptionError(f"{step!r} is no step", "give a function decorated with @step, or the step's name")
    return spec


@contextmanager
def durable(
    *,
    state: str | os.PathLike[str] | None = None,
    clock: Clock | None = None,
    stubs: Mapping[str, Any] | None = None,
    crash: tuple[str, int] | tuple[str, int, Where] | None = None,
    ledger: Ledger | None = None,
) -> Iterator[TestRun]:
    """A block in which workflows run on a state of their own, without waiting and without alerts.

        with durable(stubs={"charge": 7}) as run:
            run.crash_at("ship")
            with pytest.raises(Crash):
                checkout("o-1")
            assert run.resume() == "shipped"
            assert len(run.calls("charge")) == 1

    Args:
        state: the path of the state file. Default: a temporary one, which is removed.
        clock: the clock that the engine sees. Default: a new one.
        stubs: results of steps that are not executed, by name.
        crash: where the first process crashes: the arguments of `TestRun.crash_at`.
        ledger: whose wrapped functions count as effects. Default: a new one.

    Raises:
        StateError: the state file cannot be used.
    """
    folder = None if state is not None else Path(tempfile.mkdtemp(prefix="perdure-test-"))
    path = Path(state).absolute() if state is not None else (folder or Path()) / "state.db"
    before = {name: os.environ.get(name) for name in (*_VARIABLES, _LIMIT)}
    for name in _VARIABLES:
        os.environ.pop(name, None)
    os.environ |= {"PERDURE_STATE": str(path), "PERDURE_ALERTS": "", _LIMIT: "1000000"}
    counted = ledger or Ledger()
    run = None
    try:
        run = TestRun(path, clock or Clock(), counted)
        for name, result in (stubs or {}).items():
            run.stub(name, returns=result)
        if crash is not None:
            run.crash_at(*crash)
        yield run
    finally:
        if run is not None:
            run.close()
        if ledger is None:
            counted.close()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
