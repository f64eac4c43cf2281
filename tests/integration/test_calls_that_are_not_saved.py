"""What a workflow does unsaved is said once and kept with the run; an async step that nobody awaits fails it."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from conftest import Machine, Scripts
from perdure import step, workflow
from perdure.cli import main
from perdure.engines.runtime import unsaved
from perdure.errors import NotAwaited


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    """Each test begins as a new process."""
    unsaved._said.clear()


def kept(machine: Machine) -> list[str]:
    """What is kept with the newest run."""
    from perdure.operations.show import error_view

    store = machine.engine.store
    return [error_view(note.error).message for note in store.notes(store.runs()[0].rid)]


def test_a_step_in_a_step_is_said_once(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """One line with file and line number, however often it is called; `why` and `show` tell it afterwards."""

    @step
    def inner(n: int) -> int:
        return n

    @step
    def outer(n: int) -> int:
        return inner(n)

    @workflow
    def wf() -> int:
        return outer(1) + outer(2)

    assert wf() == 3
    [line] = [line for line in capfd.readouterr().err.splitlines() if "inner" in line]
    assert f"{__file__}:" in line
    assert "was called inside step" in line
    assert "retry and timeout are not used" in line
    assert kept(machine) == [line.removeprefix("perdure: ")]
    run = machine.engine.store.runs()[0].id
    for command in ("why", "show"):
        assert main([command, run]) == 0
        assert "was called inside step" in " ".join(capfd.readouterr().out.split())


def test_the_own_steps_of_perdure_may_be_called_in_a_step(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    """`perdure.now()` in a step is what it is meant for."""
    import perdure

    @step
    def outer() -> int:
        perdure.now()
        return 1

    @workflow
    def wf() -> int:
        return outer()

    wf()
    assert capfd.readouterr().err == ""
    assert kept(machine) == []


def test_a_call_on_a_thread_of_no_run_is_kept_with_the_run(machine: Machine) -> None:
    """A thread that was started before the workflow calls a step while the run is under way."""
    go, gone = threading.Event(), threading.Event()

    @step
    def work(n: int) -> int:
        return n

    def beside() -> None:
        go.wait(60)
        work(7)
        gone.set()

    thread = threading.Thread(target=beside, name="before")
    thread.start()

    @workflow
    def wf() -> int:
        go.set()
        assert gone.wait(60)
        return work(1)

    assert wf() == 1
    thread.join()
    [note] = kept(machine)
    assert "was called on thread 'before'" in note


async def _send(to: str) -> None:
    raise AssertionError("it is not to be executed")


send = step(_send, name="send")


@workflow
async def child() -> None:
    await asyncio.sleep(0)


@workflow
async def forgotten() -> str:
    send("a")  # type: ignore[unused-coroutine]
    return "ok"


@workflow
async def forgotten_map() -> str:
    send.map(["a", "b"])
    return "ok"


@workflow
async def forgotten_child() -> str:
    child()  # type: ignore[unused-coroutine]
    return "ok"


@workflow
async def forgotten_task() -> str:
    task = asyncio.create_task(send("a"))
    return f"ok {task.done()}"


@workflow
def from_sync() -> str:
    send("a")  # type: ignore[unused-coroutine]
    return "ok"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("flow", [forgotten, forgotten_map, forgotten_child, forgotten_task, from_sync], ids=repr)
def test_what_nobody_awaits_fails_the_run(machine: Machine, flow: object, caplog: pytest.LogCaptureFixture) -> None:
    """The call was never executed: the run does not end as done, the error has the line, and asyncio logs none."""
    with pytest.raises(NotAwaited, match=rf"was called at {__file__}:\d+ and never awaited"):
        asyncio.run(flow()) if flow is not from_sync else flow()  # type: ignore[operator]
    assert {status for _, status in machine.runs()} == {"failed"}
    gc.collect()
    assert "asyncio" not in {record.name for record in caplog.records}


@pytest.mark.filterwarnings("error")
def test_what_the_workflow_gives_up_itself_is_not_meant(machine: Machine) -> None:
    """A coroutine that is closed, a task that is cancelled before it began, and one that is awaited much later."""

    @step(name="value")
    async def value(n: int) -> int:
        return n

    @workflow
    async def wf() -> int:
        value(1).close()
        task = asyncio.create_task(value(2))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        later = value(3)
        await asyncio.sleep(0)
        return await later

    assert asyncio.run(wf()) == 3
    assert machine.runs() == [("wf", "done")]


def test_it_is_said_whatever_the_warnings_are(scripts: Scripts) -> None:
    """`python -W ignore`: exit code 1 and the error, in an async workflow and in a sync one."""
    script = scripts.write("""
        import asyncio, sys, warnings
        from perdure import step, workflow
        warnings.simplefilter("ignore")
        @step
        async def send(to: str) -> None: print("SENT")
        @workflow
        async def forgotten() -> str:
            send("a"); return "ok"
        @workflow
        def from_sync() -> str:
            send("b"); return "ok"
        asyncio.run(forgotten()) if sys.argv[1] == "async" else from_sync()
        """)
    for kind in ("async", "sync"):
        process = scripts.start(script, kind)
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, out) == (1, "")
        assert "[not-awaited]" in errors
