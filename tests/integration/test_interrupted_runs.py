"""What interrupts a run is kept and shown, with the way on; it is forgotten when the run goes on."""

from __future__ import annotations

import asyncio
import gc
import linecache
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import apsw
import pytest

import perdure
from conftest import Machine, Scripts, Trouble
from perdure import step, workflow
from perdure.cli import main
from perdure.core.exceptions import capture
from perdure.engines.interface import here, under_way
from perdure.engines.local import run_lifecycle
from perdure.engines.local.thread_map import ThreadMap
from perdure.engines.runtime.work_under_way import WorkUnderWay


class Abort(BaseException):
    """As the classes are by which libraries break off: not an Exception."""


@pytest.fixture
def reasons(machine: Machine) -> list[BaseException]:
    """What interrupts `flow`, one after the other."""
    return []


def flow_of(reasons: list[BaseException]) -> object:
    @step(name="work", retry=None)
    def work() -> str:
        if reasons:
            raise reasons.pop(0)
        return "done"

    @workflow(name="flow")
    def flow() -> str:
        return work()

    return flow


@pytest.mark.parametrize("error", [Abort("licence server says no"), KeyboardInterrupt(), SystemExit(3)])
def test_what_interrupted_a_run_is_shown(
    machine: Machine, reasons: list[BaseException], error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `show` and `why`; no attempt of the step is used up, and `show` lists no step of that name."""
    reasons.append(error)
    flow = flow_of(reasons)
    with pytest.raises(type(error)):
        flow()  # type: ignore[operator]
    (run,) = machine.engine.store.runs()
    assert machine.engine.store.attempt_records(run.rid) == []
    for look in ("show", "why"):
        assert main([look, "last"]) == 0
        said = capsys.readouterr().out
        assert type(error).__name__ in said
        assert str(error) in said
        assert "perdure.stopped" not in said


WAY_IN = ("local/sync_driver.py", "local/function_body.py", "local/scope.py", "local/run_scope.py", "execution/run.py")
"""Where a run is taken and its function begins."""


ATTEMPT = ("local/attempt.py", "local/sync_attempts.py", "local/task_attempts.py")
"""Where an attempt begins and ends."""


WAY_OUT = (
    "local/sync_driver.py",
    "local/async_driver.py",
    "local/loop_writes.py",
    "local/run_lifecycle.py",
    "local/closing.py",
    "execution/run.py",
    "store/group_commit.py",
)
"""Where a run ends whose function has returned."""


STEP_CALL = (*ATTEMPT, "local/sync_driver.py", "execution/record_matching.py", "execution/identity.py")
"""How a workflow calls a step."""


class CtrlC:
    """A Ctrl-C at a line of the way to a workflow's function, of which `passed` is the number so far.

    Args:
        at: at which of these lines, each counted once.
        way: the files in which that is.
    """

    def __init__(self, at: int, way: tuple[str, ...] = WAY_IN) -> None:
        self._at = at
        self._way = way
        self._seen: set[tuple[str, int]] = set()
        self.passed = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        where = frame.f_code.co_filename, frame.f_lineno
        if not where[0].endswith(self._way):
            return None
        # No signal is looked at where a `try:` stands alone: nothing is called there.
        if event == "line" and where not in self._seen and linecache.getline(*where).strip() != "try:":
            self._seen.add(where)
            self.passed += 1
            if self.passed == self._at:
                raise KeyboardInterrupt
        return self


def test_ctrl_c_at_any_line_before_the_function_lets_go_of_the_run(machine: Machine) -> None:
    """Of a child run too: called again, by the same process, it goes on, and nothing is under way or remembered."""

    @step(name="work")
    def work(n: int) -> int:
        return n

    @workflow(name="inner")
    def inner(n: int) -> int:
        sys.settrace(None)
        return work(n)

    @workflow(name="outer")
    def outer(n: int) -> int:
        return inner(n)

    assert outer(0) == 0
    known, at = sys.gettrace(), 0
    while True:
        at += 1
        ctrl_c = CtrlC(at)
        try:
            sys.settrace(ctrl_c)
            outer(at)
        except KeyboardInterrupt:
            assert not under_way
            assert here.get() is None
            assert outer(at) == at
        else:
            break
        finally:
            sys.settrace(known)
    assert at > 100
    assert {status for _, status in machine.runs()} == {"done"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a coroutine that was not awaited
@pytest.mark.parametrize("kind", ["step", "item", "deferred", "async"])
def test_ctrl_c_around_an_attempt_leaves_it(machine: Machine, kind: str) -> None:
    """At any line of ours: what the workflow calls then is saved, and the thread calls other workflows as before."""

    @step(name="work", retry=None)
    def work(n: int) -> int:
        return n

    @step(name="awork", retry=None)
    async def awork(n: int) -> int:
        return n

    @workflow(name="flow")
    def flow(n: int) -> int:
        if kind == "deferred":
            perdure.defer(work, n)
            sys.settrace(ctrl_c)
            return n
        with suppress(KeyboardInterrupt):
            sys.settrace(ctrl_c)
            work.map([n]) if kind == "item" else work(n)
        sys.settrace(known)
        return other(n)

    @workflow(name="aflow")
    async def aflow(n: int) -> int:
        sys.settrace(ctrl_c)
        return await awork(n)

    @workflow(name="other")
    def other(n: int) -> int:
        return work(n + 1)

    @workflow(name="another")
    async def another(n: int) -> int:
        return await awork(n)

    known, at = sys.gettrace(), -1
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
        while True:
            at += 2
            ctrl_c = CtrlC(at, ATTEMPT)
            with suppress(KeyboardInterrupt):
                try:
                    value = runner.run(aflow(at)) if kind == "async" else flow(at)
                finally:
                    sys.settrace(known)
            assert here.get() is None
            assert (runner.run(another(at)) if kind == "async" else other(at)) >= at
            if ctrl_c.passed < at:
                break
    assert at > 30
    assert value >= at
    gc.collect()


def test_ctrl_c_in_the_call_of_a_step_is_the_same_in_each_life(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also in code of ours, around the step's: a workflow that handles it goes on as before, or a line has said so."""
    fails = [True]

    @step(name="work", retry=None)
    def work(text: str) -> str:
        return text

    @workflow(name="flow")
    def flow(n: int) -> str:
        try:
            if fails:
                sys.settrace(ctrl_c)
            done = work(f"{n} first")
        except KeyboardInterrupt:
            sys.settrace(known)
            done = work(f"{n} instead")
        sys.settrace(known)
        done += work(f"{n} then")
        if fails:
            raise Trouble
        return done

    known, at, same = sys.gettrace(), 0, 0
    while True:
        at += 3
        ctrl_c = CtrlC(at, STEP_CALL)
        fails.append(True)
        with pytest.raises(Trouble):
            flow(at)
        if ctrl_c.passed < at:
            break
        fails.clear()
        if "Ctrl-C came as step 'work' was saved" not in capsys.readouterr().err:
            assert flow(at) == f"{at} instead{at} then"
            same += 1
    assert same > 20


def test_ctrl_c_outside_of_steps_that_is_handled_is_said(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """A later life does not meet it: one line, if the workflow goes on. One that left a wait is met again."""

    @step(name="work", retry=None)
    def work(text: str) -> str:
        return text

    @workflow(name="flow")
    def flow(how: str) -> str:
        try:
            work("first")
            if fails:
                sys.settrace(ctrl_c) if how == "wait" else signal.raise_signal(signal.SIGINT)
            perdure.sleep(0.001)
            work("not then")
        except KeyboardInterrupt:
            sys.settrace(known)
            work("instead")
            if how == "leaves":
                raise
        work("then")
        if fails:
            raise Trouble
        return "done"

    def ctrl_c(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_name == "await_":
            raise KeyboardInterrupt
        return ctrl_c

    known, fails = sys.gettrace(), [True]
    for how, said in (("leaves", 0), ("own", 1), ("wait", 0)):
        with pytest.raises(KeyboardInterrupt if how == "leaves" else Trouble):
            flow(how)
        assert capsys.readouterr().err.count("Ctrl-C came outside of steps, and the workflow goes on") == said
    fails.clear()
    assert flow("wait") == "done"
    assert machine.steps()[-1] == ("work", "done")
    assert "not then" not in str(machine.steps())


def test_ctrl_c_as_a_call_beside_other_threads_ends_holds_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the function would wait for it for ever."""
    left, drop, interrupts = set[object](), WorkUnderWay.drop, [KeyboardInterrupt()]

    def interrupted(holds: WorkUnderWay, what: object) -> None:
        if interrupts:
            raise interrupts.pop()
        drop(holds, what)

    @workflow(name="flow")
    def flow() -> None:
        scope: Any = here.get()
        with pytest.raises(KeyboardInterrupt), scope.taking_part():
            pass
        left.update(scope.holds.held)
        scope.holds.held.clear()

    monkeypatch.setattr(WorkUnderWay, "drop", interrupted)
    flow()
    assert left == set()


def test_ctrl_c_in_a_map_in_tasks_prints_nothing_of_ours(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """The loop cancels its tasks then, and none of them counts as one that has failed."""

    def press() -> None:
        raise KeyboardInterrupt

    @step(name="awork", retry=None)
    async def awork(n: int) -> int:
        if n == 2:
            asyncio.get_running_loop().call_soon(press)
        await asyncio.Event().wait()
        return n

    @workflow(name="aflow")
    async def aflow() -> None:
        await awork.map(range(4), concurrency=3)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(aflow())
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_ctrl_c_as_a_map_on_threads_is_left_lets_go_of_the_run(machine: Machine) -> None:
    """At the first line of its leaving: the process does not wait for it, and the same call goes on."""

    @step(name="work")
    def work(n: int) -> int:
        return n

    @workflow(name="flow")
    def flow(n: int) -> int:
        sys.settrace(None if machine.ran else ctrl_c)
        return sum(work.map([n, n + 1], concurrency=2).results)

    def ctrl_c(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is not ThreadMap._leave.__code__:
            return None
        if event == "line" and not machine.ran:
            machine.ran.append("interrupted")
            raise KeyboardInterrupt
        return ctrl_c

    known = sys.gettrace()
    try:
        with pytest.raises(KeyboardInterrupt):
            flow(1)
    finally:
        sys.settrace(known)
    assert not under_way
    assert flow(1) == 3


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_ctrl_c_at_the_end_of_a_run_says_whether_it_is_done(
    machine: Machine, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is done begins anew if the script is run again: the line says where its result is."""

    @workflow(name="flow")
    def flow(n: int) -> int:
        sys.settrace(ctrl_c)
        return n

    @workflow(name="aflow")
    async def aflow(n: int) -> int:
        sys.settrace(ctrl_c)
        return n

    known, at, seen = sys.gettrace(), 0, set[str]()
    while True:
        at += 3
        ctrl_c = CtrlC(at, WAY_OUT)
        try:
            asyncio.run(aflow(at)) if kind == "async" else flow(at)
            break
        except KeyboardInterrupt as error:
            left: BaseException = error
        finally:
            sys.settrace(known)
        assert here.get() is None
        assert not machine.engine.store.has_taken()
        run = machine.engine.store.runs()[0]
        seen.add(run.status)
        done = f"run {run.id} is done, and its result was not returned; print it: perdure resume"
        said = done if run.status == "done" else "run the script again to go on from here"
        lines = [*getattr(left, "__notes__", ()), *capsys.readouterr().err.splitlines()]
        assert [said in line for line in lines] == [True]
    assert at > 20
    assert seen == {"done", "running"}


def test_ctrl_c_as_the_first_commit_of_a_process_returns_lets_go_of_the_run(machine: Machine) -> None:
    """The run is taken then, and the process is known: nobody has the run, and it goes on when called again."""
    store = machine.engine.store
    left = [KeyboardInterrupt()]

    def written(*_: object) -> int:
        if left:
            raise left.pop()
        return apsw.SQLITE_OK

    store.journal._connection.set_wal_hook(written)  # the last that COMMIT calls
    flow: Any = flow_of([])
    with pytest.raises(KeyboardInterrupt):
        flow()
    (run,) = store.runs()
    assert store.holding(run) is None
    assert not store.has_taken()
    assert flow() == "done"
    assert machine.runs() == [("flow", "done")]


def test_it_is_forgotten_when_the_run_goes_on(machine: Machine, reasons: list[BaseException]) -> None:
    """What interrupts it next is what counts; a run that has ended has nothing of the kind."""
    reasons += [Abort("one"), Abort("two")]
    flow = flow_of(reasons)
    for said in ("one", "two"):
        with pytest.raises(Abort):
            flow()  # type: ignore[operator]
        (run,) = machine.engine.store.runs()
        stop = machine.engine.store.stopped_by(run)
        assert stop is not None
        assert said in str(stop.error)
        machine.world.time += 1
    assert flow() == "done"  # type: ignore[operator]
    (run,) = machine.engine.store.runs()
    assert machine.engine.store.stopped_by(run) is None


@pytest.mark.parametrize("where", ["undo", "undo async", "child", "deferred", "recall", "end"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), Abort("licence")])
def test_a_run_that_is_interrupted_outside_of_its_function_is_let_go(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    """While it undoes, is cleaned up, is read or ended: it says so, and the same process goes on with it."""
    interrupts, fails = [error], [True]

    def interrupt(*_: object) -> None:
        if interrupts:
            raise interrupts.pop()

    @step(name="undo-work", retry=None)
    def undo_work(_: str) -> None:
        interrupt()

    @step(name="work", undo=undo_work)
    def work() -> str:
        return "work"

    @step(name="fail", retry=None)
    def fail() -> None:
        if fails:
            raise Trouble

    def flow() -> str:
        if where == "deferred":
            perdure.defer(undo_work, "x")
            return "done"
        done = child() if where == "child" else work()
        if where not in ("recall", "end"):
            fail()
        return done

    async def aflow() -> str:
        done = work()
        fail()
        return done

    child = workflow(name="child")(lambda: work())
    outer: Any = workflow(name="flow")(aflow if "async" in where else flow)
    if where in ("recall", "end"):
        name = {"recall": "history_of", "end": "end_operation"}[where]
        real = getattr(run_lifecycle, name)
        monkeypatch.setattr(run_lifecycle, name, lambda *given, **named: (interrupt(), real(*given, **named))[1])

    def call() -> object:
        return asyncio.run(outer()) if "async" in where else outer()

    with pytest.raises(type(error)) as raised:
        call()
    (run,) = machine.engine.store.runs()
    assert machine.engine.store.holding(run) is None
    stop = machine.engine.store.stopped_by(run)
    assert stop is not None
    assert type(error).__name__ in str(stop.error)
    if not isinstance(error, SystemExit):
        assert f"run {run.id} is interrupted" in "".join(raised.value.__notes__)
    fails.clear()
    assert call() == ("done" if where == "deferred" else "work")
    assert [status for _, status in machine.runs()] == ["done"] * (2 if where == "child" else 1)


SCRIPT = """
    import asyncio, sys, time
    from perdure import step, workflow

    @step
    def work() -> None:
        print("working", flush=True)
        time.sleep(60)

    @step
    async def awork() -> None:
        print("working", flush=True)
        await asyncio.sleep(60)

    @workflow
    def flow() -> None:
        work()

    @workflow
    async def aflow() -> None:
        await awork()

    if __name__ == "__main__":
        asyncio.run(aflow()) if sys.argv[1] == "async" else flow()
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_ctrl_c_leaves_a_line_with_the_way_on(scripts: Scripts, kind: str) -> None:
    """Which run it is, and that running the script again goes on from there; the script still dies of Ctrl-C."""
    process = scripts.start(scripts.write(SCRIPT), kind)
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert err.count("is interrupted; run the script again to go on from here") == 1
    assert "KeyboardInterrupt" in err
    assert "is interrupted" in err.rstrip().splitlines()[-1]


@pytest.mark.parametrize("error", [SystemExit(), GeneratorExit(), asyncio.CancelledError()])
def test_an_end_without_a_traceback_is_said(
    machine: Machine, reasons: list[BaseException], error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sys.exit()` ends a script with exit code 0: that its run is not done is said in a line."""
    reasons.append(error)
    flow = flow_of(reasons)
    with pytest.raises(type(error)):
        flow()  # type: ignore[operator]
    (run,) = machine.engine.store.runs()
    (line,) = capsys.readouterr().err.splitlines()
    assert run.id in line
    assert line.endswith("is not done; run the script again to go on from here")


def test_a_second_ctrl_c_does_not_break_off_what_records_the_first(
    machine: Machine, reasons: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker takes up a run that died, and leaves one that a person has stopped: also if they were impatient."""
    reasons.append(KeyboardInterrupt("the first"))
    flow = flow_of(reasons)
    to_fault = capture.to_fault
    asked = []

    def interrupted(error: Exception) -> object:
        if not asked:
            asked.append(error)
            signal.raise_signal(signal.SIGINT)
        return to_fault(error)

    monkeypatch.setattr(capture, "to_fault", interrupted)
    with pytest.raises(KeyboardInterrupt, match="the first"):
        flow()  # type: ignore[operator]
    assert asked
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    (run,) = machine.engine.store.runs()
    stop = machine.engine.store.stopped_by(run)
    assert stop is not None
    assert "the first" in str(stop.error)


def test_ctrl_c_three_times_leaves_a_disk_that_does_not_answer(
    machine: Machine, reasons: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever presses it again and again gets out."""
    reasons.append(KeyboardInterrupt("the first"))
    flow = flow_of(reasons)

    def stuck(error: Exception) -> object:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    monkeypatch.setattr(capture, "to_fault", stuck)
    with pytest.raises(KeyboardInterrupt) as left:
        flow()  # type: ignore[operator]
    assert str(left.value) != "the first"
