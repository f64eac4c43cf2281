"""Event loops, forked processes and interrupts of the program's own, inside of workflows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest

from conftest import Machine, Scripts, Trouble
from perdure import step, workflow
from perdure.errors import UsageError


def test_a_sync_workflow_may_run_one_event_loop_after_another(machine: Machine) -> None:
    """`asyncio.run` with async steps, again and again in one workflow: each step is made and saved once."""
    import asyncio

    @step(retry=None)
    async def pay(n: int) -> int:
        machine.ran.append(str(n))
        return n

    @step(retry=None)
    def last() -> int:
        if len(machine.ran) < 5:
            raise Trouble
        return 0

    async def both() -> int:
        return sum(await asyncio.gather(pay(3), pay(4)))

    @workflow
    def main() -> int:
        total = sum(asyncio.run(pay(n)) for n in range(3)) + asyncio.run(both())
        machine.ran.append("end") if machine.ran[-1] == "resumed" else None
        return total + last()

    machine.ran.clear()
    fails = list(machine.ran)
    assert fails == []
    assert main() == 10
    assert sorted(machine.ran) == list("01234")


FORKS = """
import multiprocessing, os, sys
from perdure import step, workflow

@step(retry=None)
def square(n: int) -> int:
    open("ledger", "a").write(f"{n}\\n")
    return n * n

@workflow
def child(n: int) -> int:
    return square(n)

def call_square(n): return square(n)
def call_child(n): return child(n)
call_directly = square

def in_pool(method, function):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(function, [1, 2, 3])

def in_child():
    pid = os.fork()
    if pid == 0:
        try:
            square(7)
        except Exception as error:
            print("refused", type(error).__name__, flush=True)
        sys.exit(5)  # unwinds the workflow, which is the parent's
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

@workflow
def main(how: str) -> int:
    square(10)
    try:
        if how == "fork":
            print("child", in_child(), flush=True)
        else:
            method, function = how.split(".")
            in_pool(method, globals()[f"call_{function}"])
    except Exception as error:
        print("refused", type(error).__name__, error.what if hasattr(error, "what") else error, flush=True)
    return square(11)

if __name__ == "__main__":
    print("result", main(sys.argv[1]))
"""


@pytest.mark.parametrize(
    "how", ["fork", "fork.square", "fork.child", "spawn.square", "spawn.child", "forkserver.square", "fork.directly"]
)
def test_steps_in_processes_that_a_workflow_has_started_are_refused(scripts: Scripts, how: str) -> None:
    """They fail at once with an error that says what to do; nothing is written there, and the parent goes on."""
    script = scripts.write(FORKS)
    done = scripts.run(script, how)
    assert "result 121" in done.stdout, done.stderr
    assert "refused UsageError" in done.stdout
    assert (script.parent / "ledger").read_text().split() == ["10", "11"]
    if how == "fork":
        assert "child 5" in done.stdout


INTERRUPTED = """
import os, signal, sys, threading
from perdure import step, workflow

began, go = threading.Semaphore(0), threading.Event()

@step
def work(n: int) -> int:
    open("ledger", "a").write(f"{n}\\n")
    began.release()
    go.wait()
    return n

@workflow
def main() -> list[int]:
    return list(work.map(range(6), concurrency=2).results)

times = int(sys.argv[1])
received, interrupted, called = threading.Semaphore(0), threading.Event(), threading.Event()
if times == 1:
    called.set()

def callers(frame):
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names

def on_signal(signum, frame):
    received.release()
    if "main" in callers(frame) and not interrupted.is_set():
        raise KeyboardInterrupt

def waits():
    names = callers(sys._current_frames()[threading.main_thread().ident])
    return "_wait_until_idle" in names and names[0] == "wait"

def press():
    # Until it is noticed: what comes just before the thread blocks is handled when that wakes.
    os.kill(os.getpid(), signal.SIGINT)
    while not received.acquire(timeout=0.1):
        os.kill(os.getpid(), signal.SIGINT)

def interrupt():
    began.acquire(); began.acquire()
    for _ in range(times):
        press()
        while not interrupted.is_set() and not waits():
            pass
    # With its threads still in their steps. Two signals may come as one, while the first is on its way up.
    while times > 1 and not interrupted.is_set():
        if waits():
            press()
    called.wait()
    go.set()

signal.signal(signal.SIGINT, on_signal)
threading.Thread(target=interrupt).start()
try:
    main()
except KeyboardInterrupt:
    interrupted.set()
    print("interrupted", flush=True)
from perdure.errors import AlreadyRunning
if times > 1:
    try:
        main()
    except AlreadyRunning:
        print("its threads are in their steps", flush=True)
    called.set()
go.wait()
while True:
    try:
        print("result", main())
        break
    except AlreadyRunning:
        pass  # the threads are in their last steps
"""


@pytest.mark.parametrize("times", ["1", "2"])
def test_a_map_that_was_interrupted_goes_on_in_the_same_process(scripts: Scripts, times: str) -> None:
    """Ctrl-C in a notebook: the run is let go when its threads have ended, and the next call goes on with it."""
    script = scripts.write(INTERRUPTED)
    done = scripts.run(script, times)
    between = ["its threads are in their steps"] if times == "2" else []
    assert done.stdout.splitlines() == ["interrupted", *between, "result [0, 1, 2, 3, 4, 5]"], done.stderr
    assert sorted((script.parent / "ledger").read_text().split()) == list("012345")


@pytest.mark.parametrize("ends", ["run", "stop"])
def test_what_is_ready_when_a_loop_ends_runs_before_it_does(machine: Machine, ends: str) -> None:
    """A library hangs its own end on that of the loop's task: the threads of anyio wait for it for ever otherwise."""
    seen: list[str] = []

    root: list[asyncio.Task[Any]] = []

    @step(name="one")
    async def one(n: int) -> int:
        if n == 0:
            root[0].add_done_callback(lambda task: seen.append("over"))  # in the context of a step, not of the workflow
        await asyncio.sleep(0)
        return n

    async def main() -> int:
        task = asyncio.current_task()
        assert task is not None
        root.append(task)
        return sum(await asyncio.gather(one(0), one(1)))

    @workflow
    def flow() -> int:
        loop = asyncio.new_event_loop()
        if ends == "run":
            result = loop.run_until_complete(main())
            seen.append("ended")
            loop.close()
            return result
        task = loop.create_task(main())
        task.add_done_callback(lambda task: loop.call_soon(loop.stop))
        task.add_done_callback(lambda task: loop.call_soon(seen.append, "beside", context=Context()))
        loop.run_forever()
        loop.close()
        return task.result()

    assert flow() == 1
    assert seen == (["over", "ended"] if ends == "run" else ["over", "beside"])


def test_a_skipped_run_in_a_task_of_a_loop_leaves_the_loop_alone(scripts: Scripts) -> None:
    """Skipped is an exception like any other, except at the top of a script: that ends with 0, without a traceback."""
    script = scripts.write(
        """
        import asyncio, sys
        from perdure.errors import Skipped

        async def feed():
            raise Skipped("it runs elsewhere")

        async def daemon():
            print(type((await asyncio.gather(asyncio.create_task(feed()), return_exceptions=True))[0]).__name__)
            print("goes on", flush=True)

        asyncio.run(daemon())
        asyncio.run(feed())
        """
    )
    done = scripts.run(script)
    assert (done.returncode, done.stdout.split("\n")[:2], done.stderr) == (0, ["Skipped", "goes on"], "")


def test_workflows_nested_deeper_than_the_stack_are_refused_with_one_error(machine: Machine) -> None:
    """A chain of children without end is one error of perdure's, not a RecursionError from its inside."""

    @workflow
    def tree(n: int) -> int:
        return tree(n + 1)

    with pytest.raises(UsageError) as caught:
        tree(0)
    assert "too deep" in caught.value.what
    assert not getattr(caught.value, "__notes__", [])


async def _started(begin: Callable[[], Any]) -> Any:
    return await begin()


def test_a_run_that_is_started_in_a_loop_stays_in_it(machine: Machine) -> None:
    """What belongs to the caller's loop (locks, connections) can be used; the second start of the run is the first."""
    import asyncio

    loops: list[object] = []

    @step
    async def where() -> int:
        loops.append(asyncio.get_running_loop())
        return 1

    @workflow
    async def main(n: int) -> int:
        return await where()

    async def app() -> None:
        handle = main.start(1)
        assert main.start(1) is handle
        with pytest.raises(UsageError):
            handle.result()
        assert await handle == 1
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(app())


def test_a_sync_step_that_keeps_the_loop_for_long_says_so_once(scripts: Scripts) -> None:
    """It is allowed, but not silent: the line names the step and the way out."""
    script = scripts.write(
        """
        import asyncio, time
        from perdure import step, workflow

        @step
        def export() -> None:
            time.sleep(0.2)

        @workflow
        async def main() -> None:
            other = asyncio.create_task(asyncio.sleep(0.1))
            export()
            export()
            await asyncio.to_thread(export)
            await other

        asyncio.run(main())
        """
    )
    done = scripts.run(script)
    assert done.stderr.count("asyncio.to_thread") == 1, done.stderr
