"""Threads of a workflow that seem to wait, and are about to go on: what they claim is waited for."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.engines.runtime import thread_rest, thread_states
from perdure.engines.runtime.thread_branches import ThreadTask

LOOKS = 3


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Few looks are taken for rest; this is how each of them came out."""
    seen: list[Any] = []
    look = thread_rest._busiest

    def looking(scope: Any) -> Any:
        found = look(scope)
        seen.append(found)
        return found

    monkeypatch.setattr(thread_rest, "REST_LOOKS", LOOKS)
    monkeypatch.setattr(thread_rest, "_busiest", looking)
    return seen


def test_a_job_is_waited_for_as_long_as_a_thread_of_its_pool_begins(machine: Machine, looks: list[Any]) -> None:
    """A pool whose threads are slow to begin (an initializer, a busy machine) is no drift: the job has the record."""
    resumed = [False]
    made: list[int] = []

    def prepare() -> None:
        while resumed[0] and len(looks) < 4 * LOOKS:
            looked.wait(0.01)

    looked = threading.Event()

    @step(retry=None)
    def woken_work(n: int) -> int:
        if n == 2 and not resumed[0]:
            raise Trouble
        made.append(n)
        return n

    @workflow
    def main() -> int:
        with ThreadPoolExecutor(1, initializer=prepare) as pool:
            job: Future[int] = pool.submit(woken_work, 1)
            if not resumed[0]:
                job.result()
            try:
                return woken_work(2) + job.result()
            except BaseException:
                resumed[0] = False  # lets the pool end
                raise

    with pytest.raises(Trouble):
        main()
    resumed[0] = True
    machine.boot()
    assert main() == 3
    assert made == [1, 2]


def _frame(ident: int) -> FrameType:
    return sys._current_frames()[ident]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the system does not say whether a thread sleeps")
def test_a_thread_that_sleeps_is_told_from_one_that_runs() -> None:
    """However long it runs in code that waits as a rule, a thread that gets processor time is not at rest."""
    spins: dict[str, Any] = {}
    source = "def spin(begun, over):\n    begun.set()\n    while not over: pass\n"
    exec(compile(source, asyncio.__file__, "exec"), spins)
    begun, ended, over = threading.Event(), threading.Event(), []
    spinning = threading.Thread(target=spins["spin"], args=(begun, over))
    waiting = threading.Thread(target=ended.wait)
    spinning.start()
    waiting.start()
    try:
        begun.wait()
        assert thread_rest.waits(_frame(spinning.ident or 0))
        found = {thread_states.slept(spinning.native_id or 0) for _ in range(200)}
        assert -1 in found or len(found) > 1
        while not thread_rest.waits(_frame(waiting.ident or 0)) or thread_states.slept(waiting.native_id or 0) == -1:
            pass
    finally:
        over.append(True)
        spinning.join()
        ended.set()
        waiting.join()


def test_a_thread_that_was_notified_is_not_at_rest() -> None:
    """Between the notification and its next instruction, a thread looks as if it waited still."""
    waiter = threading.Lock()
    waiter.acquire()
    assert not thread_states.is_woken(wait(waiter))
    waiter.release()
    assert thread_states.is_woken(wait(waiter))


def wait(waiter: threading.Lock) -> FrameType:
    """As in a condition."""
    return sys._getframe()


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the system does not say whether a thread sleeps")
def test_a_thread_that_was_notified_and_waits_for_the_lock_of_its_condition_is_at_rest() -> None:
    """Whoever notified it may keep that lock while it executes a step: nothing comes of waiting for the thread."""
    condition = threading.Condition()
    task = ThreadTask(None)

    def work() -> None:
        with condition:
            condition.wait(1000)

    def look() -> thread_rest.State:
        return thread_rest._state(scope, branch, thread_rest._Surroundings([branch], set()))

    task.thread = thread = threading.Thread(target=work)
    scope: Any = SimpleNamespace(parked=set())
    branch: Any = Hashed(task=task, parent=None, done=lambda: False)
    sleepers = thread_states.Sleepers()
    thread.start()
    task.ident, task.native = thread.ident, thread.native_id
    while not condition._waiters:  # type: ignore[attr-defined]
        pass
    with condition:
        condition.notify()
        found = thread_states.waits_for_another(_frame(thread.ident or 0))
        while not sleepers.sleeps(thread.native_id or 0, _frame(thread.ident or 0)):
            pass
        rests = any(look() is thread_rest.State.RESTS for _ in range(1000))
    thread.join()
    assert found is None
    assert rests


class Hashed(SimpleNamespace):
    """One that can be in a set."""

    __hash__ = object.__hash__
