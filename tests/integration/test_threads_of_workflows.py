"""Threads and pools of the program's own, inside of workflows."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import perdure
from conftest import Machine, Scripts, Trouble
from perdure import step, workflow
from perdure.errors import Drift, UsageError


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


def test_a_module_that_another_thread_is_about_to_import_is_none(scripts: Scripts) -> None:
    """A step in a thread imports asyncio, say: until it has, the module is there with nothing in it."""
    script = scripts.write(
        """
        import datetime, sys, threading
        from importlib.machinery import SourceFileLoader
        from perdure import now, step, workflow

        NAMES = ["asyncio", "zoneinfo", "multiprocessing.process", "perdure.engines.runtime.command"]
        assert not set(NAMES) & set(sys.modules)
        begun, over = threading.Event(), threading.Event()

        class Slow(SourceFileLoader):
            def exec_module(self, module):
                begun.set()
                over.wait()
                super().exec_module(module)

        class Finder:
            def find_spec(name, path, target=None):
                specs = (each.find_spec(name, path, target) for each in sys.meta_path[1:])
                spec = next(filter(None, specs), None)
                if name in NAMES:
                    spec.loader = Slow(spec.loader.name, spec.loader.path)
                return spec

        sys.meta_path.insert(0, Finder)

        @step(retry=None)
        def lazy(name: str) -> None:
            __import__(name)

        @step(retry=None)
        def small(when: datetime.datetime) -> datetime.datetime:
            return when

        @step(retry=None)
        def bad() -> None:
            raise ValueError

        @workflow
        def main() -> int:
            for name in NAMES:
                thread = threading.Thread(target=lazy, args=(name,), daemon=True)
                thread.start()
                begun.wait()
                small(now())
                try:
                    bad()
                except ValueError:
                    pass
                over.set()
                thread.join()
                begun.clear()
                over.clear()
            return len(NAMES)

        if __name__ == "__main__":
            print(main())
        """
    )
    done = scripts.run(script, fresh=True)
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr
