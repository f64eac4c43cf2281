"""`assert_resumable`: a workflow is killed at each of its points, resumed, and has to end as if undisturbed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import msgspec

from perdure.api.workflow import Workflow
from perdure.core.execution.spec import spec_of
from perdure.crashtest.outcome import error_text
from perdure.crashtest.points import RUN, Point
from perdure.errors import OptionError
from perdure.testing.ledger import Ledger
from perdure.testing.trial import WHERE, Crash, TestRun, Where, durable

_ID = "assert_resumable"
"""The id of every run."""

Oracle = Ledger | Callable[[], Any]


class Report(msgspec.Struct):
    """What `assert_resumable` tried.

    Attributes:
        kills: how many runs were killed and resumed.
        points: how many points there are; fewer kills than points: `max_kills` was reached.
        steps: the steps that the workflow calls.
        findings: what a kill has changed, a line each.
    """

    kills: int = 0
    points: int = 0
    steps: list[str] = []
    findings: list[str] = []


class _End(msgspec.Struct, frozen=True):
    """How a run ended: its result or its exception, and what the oracle says."""

    result: Any
    error: str
    oracle: Any


def assert_resumable(
    workflow: Workflow[..., Any],
    *args: Any,
    oracle: Oracle | None = None,
    at: Literal["all"] | Where = "all",
    max_kills: int = 200,
    seed: int = 0,
    real: bool = False,
    **kwargs: Any,
) -> Report:
    """Run a workflow undisturbed, then kill it at each of its points and resume it; each run has to end the same.

    A workflow that raises is one that is meant to: each run has to raise the same, and to undo the same.

    The steps are executed each time, so stub what must not be, or let the test's own fakes take it. Each run has a
    state of its own, and no wait takes time.

    Args:
        workflow: which.
        args: its positional arguments.
        oracle: what the world says at the end of a run. A `Ledger`: its counts, which are cleared before each run. A
            function: what it returns is compared.
        at: the points: "before-save", "after-save", "effect" (a function that the ledger has wrapped has returned), or
            "all".
        max_kills: how many points at most; if there are more, by chance, of each step as many.
        seed: of that chance.
        real: each life is a process of its own that is killed by SIGKILL. Slower; `finally` does not run then, and
            what the steps leave in memory is gone. An oracle that is a function has to look outside of the process.
        kwargs: its keyword arguments.

    Returns:
        What was tried.

    Raises:
        AssertionError: a kill has changed the end; the text has a line for each place.
        OptionError: `at` is not one of them, or `workflow` is no workflow.
        UsageError: called inside of a running event loop.
    """
    if spec_of(workflow) is None or not isinstance(workflow, Workflow):
        raise OptionError(f"{workflow!r} is no workflow", "give a function decorated with @workflow")
    if at != "all" and at not in WHERE:
        raise OptionError(f"at is {at!r}", f"give one of {', '.join(map(repr, ('all', *WHERE)))}")
    if real and not hasattr(os, "fork"):
        raise OptionError("real=True needs fork", "run it without real=True on this system")
    tried = _Tried(workflow, args, kwargs, oracle)
    usual, points = tried.undisturbed()
    report = Report(steps=list(dict.fromkeys(point.step for point in points if point.step != RUN)))
    chosen = [point for point in points if at in ("all", point.kind)]
    report.points = len(chosen)
    for point in _some(chosen, max_kills, random.Random(seed)):
        end, after = tried.killed_for_real(point) if real else tried.killed(point)
        report.kills += 1
        place = f"{point.nth}. {point.kind} of {point.step or 'the run'}"
        report.findings += [f"{place}: {line}" for line in (*_differences(usual, end), *after)]
    if report.findings:
        lines = "\n  ".join(report.findings)
        raise AssertionError(f"{workflow!r} does not resume as if undisturbed:\n  {lines}")
    return report


class _Tried:
    """The workflow, its arguments, and the oracle."""

    def __init__(
        self, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], oracle: Oracle | None
    ) -> None:
        self._workflow = workflow.with_options(id=_ID)  # one run: what is done is not done again
        self._usual = _End(None, "", None)
        self._args = args
        self._kwargs = kwargs
        self._oracle = oracle

    def undisturbed(self) -> tuple[_End, list[Point]]:
        """How it ends, and the points that it reaches."""
        with self._durable() as run:
            self._usual = self._end(self._call)
            return self._usual, run.reached

    def killed(self, point: Point) -> tuple[_End, list[str]]:
        """How it ends when it crashed there; and what was done after the crash."""
        with self._durable() as run:
            run.crash_at_point(point)
            try:
                self._call()
            except Crash:
                run.restart()
                return self._resumed(run), run.after_crash
            except Exception as error:  # noqa: BLE001  undisturbed, it may end so too
                missed = f"executed again, it does not come there: {type(error).__name__}"
            else:
                missed = "executed again, it does not come there"
            return self._end(self._call), [missed]

    def killed_for_real(self, point: Point) -> tuple[_End, list[str]]:
        """The same, in processes of their own."""
        with tempfile.TemporaryDirectory(prefix="perdure-test-") as folder:
            state = Path(folder, "state.db")
            with self._ledger().shared(Path(folder, "ledger")):
                _forked(lambda: self._live(state, point))
                told = Path(folder, "end")
                _forked(lambda: self._go_on(state, told))
                if not told.exists():
                    return _End(None, "its process ended by itself", None), []
                result, error = msgspec.msgpack.decode(told.read_bytes())
                return _End(result, error, self._seen()), []

    def _live(self, state: Path, point: Point) -> None:
        with self._durable(state) as run:
            run.die_by(lambda: os.kill(os.getpid(), signal.SIGKILL))
            run.crash_at_point(point)
            self._call()

    def _go_on(self, state: Path, told: Path) -> None:
        with self._durable(state) as run:
            end = self._resumed(run)
            told.write_bytes(msgspec.msgpack.encode([end.result, end.error]))

    def _resumed(self, run: TestRun) -> _End:
        """How the run ends after a crash. One that had failed by then has ended: once more would be another try."""
        if run.has_failed_for_good(_ID):
            return msgspec.structs.replace(self._usual, oracle=self._seen())
        return self._end(self._call)

    def _ledger(self) -> Ledger:
        return self._oracle if isinstance(self._oracle, Ledger) else Ledger()

    def _durable(self, state: Path | None = None) -> AbstractContextManager[TestRun]:
        ledger = self._ledger()
        if state is None:
            ledger.clear()
        return durable(state=state, ledger=ledger)

    def _call(self) -> Any:
        value = self._workflow(*self._args, **self._kwargs)
        return asyncio.run(value) if asyncio.iscoroutine(value) else value

    def _end(self, act: Callable[[], Any]) -> _End:
        try:
            result, error = repr(act()), ""
        except Exception as raised:  # noqa: BLE001  compared
            result, error = None, error_text(raised)
        return _End(result, error, self._seen())

    def _seen(self) -> Any:
        if isinstance(self._oracle, Ledger):
            return self._oracle.counts()
        return None if self._oracle is None else self._oracle()


def _differences(usual: _End, end: _End) -> list[str]:
    found = []
    if end.error != usual.error:
        found.append(f"it ends with {end.error or 'a result'}, undisturbed with {usual.error or 'a result'}")
    elif end.result != usual.result:
        found.append(f"its result is {end.result}, undisturbed {usual.result}")
    if end.oracle != usual.oracle:
        found.append(f"the oracle says {_compared(usual.oracle, end.oracle)}")
    return found


def _compared(usual: Any, now: Any) -> str:
    if isinstance(usual, dict) and isinstance(now, dict):
        parts = [
            f"{key}: {now.get(key)!r} instead of {usual.get(key)!r}"
            for key in {**usual, **now}
            if now.get(key) != usual.get(key)
        ]
        return "; ".join(parts)
    return f"{now!r} instead of {usual!r}"


def _some(points: list[Point], most: int, chance: random.Random) -> list[Point]:
    if len(points) <= most:
        return points
    shuffled = chance.sample(points, len(points))
    seen: Counter[str] = Counter()
    turns: list[tuple[int, int, Point]] = []
    for point in shuffled:
        turns.append((seen[point.step], len(turns), point))
        seen[point.step] += 1
    return [point for _, _, point in sorted(turns, key=lambda turn: turn[:2])[:most]]


def _forked(act: Callable[[], None]) -> None:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    try:
        os.setsid()
        act()
    finally:
        os._exit(0)
