"""Threads, pools, event loops and processes of the program's own, inside of workflows."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import perdure
from conftest import Machine, Scripts, Trouble
from perdure import step, workflow
from perdure.errors import Drift, UsageError

PROGRAM = """
import asyncio, itertools, json, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from perdure import step, workflow

KILL_AT = int(os.environ.get("KILL_AT", "0"))
events = itertools.count(1)

def note(what, n):
    fd = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{what} {n}\\n".encode())
    os.close(fd)

def effect(n):
    note("did", n)
    if next(events) == KILL_AT:
        os.kill(os.getpid(), 9)
    return n

@step(retry=None)
def work(n: int) -> int:
    return effect(n)

@step(retry=None)
async def awork(n: int) -> int:
    await asyncio.sleep(0)
    return effect(n)

def call(n):
    got = work(n)
    note("saw", n)
    return got

async def acall(n):
    got = await awork(n)
    note("saw", n)
    return got

@workflow
def child(ops: list) -> int:
    return carry(ops)

def carry(ops):
    return sum(one(*op) for op in ops)

def one(kind, what):
    if kind == "step":
        return call(what)
    if kind == "pool":
        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(carry, what))
    if kind == "threads":
        got = []
        threads = [threading.Thread(target=lambda ops=ops: got.append(carry(ops))) for ops in what]
        for thread in threads: thread.start()
        between = call(-what[0][0][1]) if what[0][0][0] == "step" else 0
        for thread in threads: thread.join()
        return sum(got) + between
    if kind == "map":
        return sum(work.map(what, concurrency=2).results)
    if kind == "child":
        return child(what)
    async def together():
        return sum(await asyncio.gather(*map(acall, what[:2]), *(asyncio.to_thread(call, n) for n in what[2:])))
    return asyncio.run(together())

@workflow
def main(ops: list) -> int:
    return carry(ops)

if __name__ == "__main__":
    print("result", main(json.loads(open("program.json").read())))
"""


def ops(rng: random.Random, numbers: Any, depth: int) -> list[Any]:
    """A random program; every step of it has a number of its own."""
    made: list[Any] = []
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(["step", "pool", "threads", "map", "child", "loop"] if depth else ["step", "map", "loop"])
        if kind == "step":
            made.append((kind, next(numbers)))
        elif kind in ("map", "loop"):
            made.append((kind, [next(numbers) for _ in range(rng.randint(2, 4))]))
        elif kind == "child":
            made.append((kind, ops(rng, numbers, depth - 1)))
        else:
            made.append((kind, [ops(rng, numbers, depth - 1) for _ in range(rng.randint(1, 4))]))
    return made


@pytest.mark.parametrize("seed", range(10))
def test_random_programs_of_threads_that_are_killed_anywhere_resume(scripts: Scripts, seed: int) -> None:
    """Whatever threads, pools and loops call steps: killed anywhere, it resumes, and repeats nothing seen."""
    rng = random.Random(seed)
    program = ops(rng, iter(range(1, 1000)), 2)
    script = scripts.write(PROGRAM)
    (script.parent / "program.json").write_text(json.dumps(program))
    ledger = script.parent / "ledger"
    seen: set[str] = set()
    done: Any = None
    for life in range(6):
        kill_at = str(rng.randint(1, 6)) if life < 5 else "0"
        before = len(ledger.read_text().splitlines()) if ledger.exists() else 0
        done = scripts.run(script, KILL_AT=kill_at)
        lines = [line.split() for line in ledger.read_text().splitlines()[before:]]
        again = seen & {n for what, n in lines if what == "did"}
        assert not again, (program, done.stderr)
        seen |= {n for what, n in lines if what == "saw"}
        if done.returncode == 0:
            break
        assert done.returncode == -9, (program, done.stderr)
    assert done.returncode == 0, (program, done.stderr)


def test_steps_in_threads_of_every_kind_are_saved_and_not_made_again(machine: Machine) -> None:
    """A step that a workflow calls in a thread or a pool, with or without a copied context, is saved like any other."""
    import contextvars

    @step(retry=None)
    def work(n: int) -> int:
        machine.ran.append(str(n))
        return n

    @step(retry=None)
    def last() -> int:
        if len(machine.ran) <= 5:
            raise Trouble
        return 0

    elsewhere = ThreadPoolExecutor(2)
    elsewhere.submit(int).result()

    @workflow
    def main() -> int:
        got: list[int] = []
        thread = threading.Thread(target=lambda: got.append(work(1)))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(2) as pool:
            got += pool.map(work, (2, 3))
            got.append(pool.submit(contextvars.copy_context().run, work, 4).result())
        got.append(elsewhere.submit(work, 5).result())
        machine.ran.append("end") if len(machine.ran) > 5 else None
        last()
        return sum(got)

    with pytest.raises(Trouble):
        main()
    assert Counter(machine.ran) == Counter("12345")
    machine.boot()
    machine.ran.append("resumed")
    assert main() == 15
    assert Counter(machine.ran) == Counter([*"12345", "resumed", "end"])


def test_an_edited_call_in_a_thread_is_drift_before_anything_is_executed(machine: Machine) -> None:
    """All threads wait for each other, or to be joined: what is called with other inputs stops the run."""
    factor = [1]

    @step(retry=None)
    def work(n: int) -> int:
        machine.ran.append(str(n))
        return n

    @step(retry=None)
    def last() -> int:
        raise Trouble

    @workflow
    def main() -> int:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda n: work(n * factor[0]), (1, 2, 3, 4)))
        return last()

    with pytest.raises(Trouble):
        main()
    factor[0] = 10
    machine.boot()
    with pytest.raises(Drift):
        main()
    assert Counter(machine.ran) == Counter("1234")


def test_random_numbers_in_threads_that_come_in_another_order_stay_each_with_its_own(machine: Machine) -> None:
    """A call without inputs is told apart by the thread that makes it, numbered in the order of their starts."""
    order = [0, 1, 2]
    fails = [True]

    @step(retry=None)
    def last() -> int:
        if fails[0]:
            raise Trouble
        return 0

    got: dict[int, str] = {}

    @workflow
    def main() -> None:
        turns = [threading.Event() for _ in order]

        def draw(n: int) -> None:
            turns[n].wait()
            got[n] = str(perdure.uuid())
            follower = order.index(n) + 1
            if follower < len(order):
                turns[order[follower]].set()

        threads = [threading.Thread(target=draw, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        turns[order[0]].set()
        for thread in threads:
            thread.join()
        last()

    with pytest.raises(Trouble):
        main()
    first = dict(got)
    order.reverse()
    fails[0] = False
    machine.boot()
    main()
    assert got == first


def test_a_thread_that_calls_a_step_after_the_end_of_the_workflow_is_refused(machine: Machine) -> None:
    """Nothing is written to a run that has ended: the late call is an error that says so."""
    go, caught = threading.Event(), []

    @step
    def work(n: int) -> int:
        machine.ran.append(str(n))
        return n

    @workflow
    def main() -> threading.Thread | None:
        def late() -> None:
            go.wait()
            try:
                work(2)
            except UsageError as error:
                caught.append(error)

        threads.append(threading.Thread(target=late))
        threads[0].start()
        work(1)
        return None

    threads: list[threading.Thread] = []
    main()
    go.set()
    threads[0].join()
    assert machine.ran == ["1"]
    assert "had ended" in caught[0].what


def test_a_step_that_a_thread_is_in_the_middle_of_at_the_end_of_the_workflow_is_saved(machine: Machine) -> None:
    """What a thread has begun before the function returns comes to its end, and is saved, before the run ends."""
    began, go = threading.Event(), threading.Event()

    @step
    def work() -> int:
        began.set()
        go.wait()
        return 1

    @workflow
    def main() -> None:
        threading.Thread(target=work).start()
        began.wait()
        threading.Timer(0.01, go.set).start()

    main()
    assert [name for name, _ in machine.steps()] == ["work"]


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
    "how", ["fork", "fork.square", "fork.child", "spawn.square", "spawn.child", "forkserver.square"]
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
received, interrupted = threading.Semaphore(0), threading.Event()

def callers(frame):
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names

def on_signal(signum, frame):
    received.release()
    if "main" in callers(frame):
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
    go.set()

signal.signal(signal.SIGINT, on_signal)
threading.Thread(target=interrupt).start()
try:
    main()
except KeyboardInterrupt:
    interrupted.set()
    print("interrupted", flush=True)
go.wait()
from perdure.errors import AlreadyRunning
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
    assert done.stdout.splitlines() == ["interrupted", "result [0, 1, 2, 3, 4, 5]"], done.stderr
    assert sorted((script.parent / "ledger").read_text().split()) == list("012345")


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


def test_a_step_on_a_thread_that_belongs_to_no_run_says_that_it_is_not_saved(scripts: Scripts) -> None:
    """The plain call on a thread made before the workflow is not silent: one line for the step."""
    script = scripts.write(
        """
        import queue, threading
        from perdure import step, workflow
        work, done = queue.Queue(), queue.Queue()

        @step
        def double(n: int) -> int:
            return 2 * n

        def loop():
            while True:
                done.put(double(work.get()))

        threading.Thread(target=loop, daemon=True).start()

        @workflow
        def main() -> int:
            for n in (1, 2):
                work.put(n)
            return done.get() + done.get()

        print(main())
        """
    )
    done = scripts.run(script)
    assert done.stdout == "6\n"
    assert done.stderr.count("nothing is saved") == 1


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
