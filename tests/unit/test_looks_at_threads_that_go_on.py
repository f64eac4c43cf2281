"""Threads go on while it is looked whether they rest: none that is on its way is missed because of that."""

from __future__ import annotations

import gc
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from perdure.engines.runtime import thread_states
from perdure.engines.runtime.thread_branches import ThreadTask
from perdure.engines.runtime.thread_turns import ThreadTurns, Waiting


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """One with an idle thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        yield pool


@pytest.fixture
def turns() -> ThreadTurns:
    """Those of a run whose only thread is this one."""
    line = ThreadTask(None)
    line.ident = threading.get_ident()
    return ThreadTurns(SimpleNamespace(order=None), line)


def moving_if(monkeypatch: pytest.MonkeyPatch, turns: ThreadTurns, meanwhile: Callable[[], None]) -> set[Any]:
    """What is on its way, if that happens as soon as the frames are taken."""

    def frames() -> Any:
        taken = sys._current_frames()
        monkeypatch.setattr(thread_states, "sys", sys)
        meanwhile()
        return taken

    monkeypatch.setattr(thread_states, "sys", SimpleNamespace(_current_frames=frames))
    return {*turns.moving(math.inf, {})}


def test_a_job_that_begins_meanwhile_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch, turns: ThreadTurns, pool: ThreadPoolExecutor
) -> None:
    """Its thread is idle by the frame that it had before."""
    job = ThreadTask(None, pool=pool)
    turns.add(job)
    assert moving_if(monkeypatch, turns, lambda: turns.job_begins(job))


def test_what_is_started_meanwhile_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch, turns: ThreadTurns, pool: ThreadPoolExecutor
) -> None:
    """The thread that has started it may rest by now."""
    job, thread = ThreadTask(None, pool=pool), ThreadTask(None)
    assert moving_if(monkeypatch, turns, lambda: turns.add(job))
    turns._jobs.clear()
    assert moving_if(monkeypatch, turns, lambda: turns.add(thread)) == {thread}


def test_a_thread_that_begins_meanwhile_is_not_taken_to_have_ended(
    monkeypatch: pytest.MonkeyPatch, turns: ThreadTurns
) -> None:
    """It has no frame yet among those that were taken before."""
    goes_on = threading.Event()
    task = ThreadTask(None)
    task.thread = thread = threading.Thread(target=goes_on.wait)
    turns.add(task)

    def begin() -> None:
        thread.start()
        task.ident = thread.ident

    try:
        assert moving_if(monkeypatch, turns, begin) == {task}
        assert task in turns.threads
    finally:
        goes_on.set()
        thread.join()


def test_an_idle_thread_of_a_pool_that_is_shut_down_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch, turns: ThreadTurns, pool: ThreadPoolExecutor
) -> None:
    """It ends by itself, and who waits for its end goes on then."""
    job = ThreadTask(None, pool=pool)
    turns.add(job)
    turns._jobs[pool].clear()
    assert not moving_if(monkeypatch, turns, lambda: None)
    monkeypatch.setattr(pool, "_shutdown", True)
    assert moving_if(monkeypatch, turns, lambda: None)


def test_a_call_that_comes_to_wait_meanwhile_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was on its way when it was asked who is first, and rested when it was asked who is on its way."""
    line, other = ThreadTask(None), ThreadTask(None)
    line.ident, line.place = threading.get_ident(), 2
    turns = ThreadTurns(SimpleNamespace(order=None, closed=False, forked=False, stopped=None), line)
    before = Waiting(1, other)
    found: list[bool] = []
    is_first = turns.is_first

    def moving(*args: Any) -> dict[Any, int]:
        if not before.given and before not in turns._queue:
            turns.queue_up(before)
        return {}

    def asked(one: Waiting) -> bool:
        found.append(is_first(one))
        if not found[-1]:
            turns.step_up(before)
        return found[-1]

    monkeypatch.setattr(turns, "moving", moving)
    monkeypatch.setattr(turns, "is_first", asked)
    turns.come(line)
    assert found == [True, False, True, True]


def test_a_look_at_threads_is_made_without_a_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection in the middle of one has stopped a process for good; after it the collector works as before."""
    seen: list[bool] = []

    def look() -> dict[int, Any]:
        seen.append(gc.isenabled())
        return thread_states.frames() if len(seen) == 1 else {}  # a handler of a signal looks meanwhile

    monkeypatch.setattr(thread_states, "sys", SimpleNamespace(_current_frames=look))
    assert gc.isenabled()
    thread_states.frames()
    assert seen == [False, False]
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_process_that_is_forked_during_a_look_can_look_and_collect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that looked is not in the new process: neither its lock nor its pause of the collector stays."""
    inside, over = threading.Event(), threading.Event()

    def look() -> dict[int, Any]:
        inside.set()
        over.wait(60)
        return {}

    monkeypatch.setattr(thread_states, "sys", SimpleNamespace(_current_frames=look))
    thread = threading.Thread(target=thread_states.frames)
    thread.start()
    inside.wait(60)
    child = os.fork()
    if child == 0:
        free = thread_states._looking.acquire(blocking=False)
        os._exit(0 if free and gc.isenabled() else 1)
    over.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert gc.isenabled()
