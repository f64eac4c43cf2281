"""Which of the program's own threads comes first is history: a resumed run sees the same order."""

from __future__ import annotations

import contextvars
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, as_completed, wait
from functools import partial
from queue import Queue, SimpleQueue
from typing import cast

import pytest

from conftest import Machine, Trouble
from perdure import Step, step, workflow
from perdure.engines.runtime import moving_threads

ORDER = (4, 1, 3, 0, 2)


def by_as_completed(ask: Callable[[int], int], seen: Callable[[int], None]) -> None:
    """What a pool has done, as it comes."""
    with ThreadPoolExecutor(len(ORDER)) as pool:
        for future in as_completed([pool.submit(ask, n) for n in sorted(ORDER)], timeout=60):
            seen(future.result())


def by_wait(ask: Callable[[int], int], seen: Callable[[int], None]) -> None:
    """The same by `wait`; what is done at once is taken in the order of the numbers."""
    with ThreadPoolExecutor(len(ORDER)) as pool:
        left = {pool.submit(ask, n) for n in ORDER}
        while left:
            done, left = wait(left, return_when=FIRST_COMPLETED)
            for n in sorted(future.result() for future in done):
                seen(n)


def by_queue(ask: Callable[[int], int], seen: Callable[[int], None]) -> None:
    """Threads put what they get into a queue."""
    queue: Queue[int] = Queue()
    threads = [threading.Thread(target=lambda n=n: queue.put(ask(n))) for n in sorted(ORDER)]
    for thread in threads:
        thread.start()
    for _ in threads:
        seen(queue.get())
    for thread in threads:
        thread.join()


def by_lock(ask: Callable[[int], int], seen: Callable[[int], None]) -> None:
    """Threads take a lock, and call the next step themselves."""
    lock = threading.Lock()

    def one(n: int) -> None:
        got = ask(n)
        with lock:
            seen(got)

    threads = [threading.Thread(target=one, args=(n,)) for n in sorted(ORDER)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def by_maps(ask: Callable[[int], int], seen: Callable[[int], None]) -> None:
    """The same, each thread with a map of its own."""
    by_lock(lambda n: cast(Step[[int], int], ask).map([n]).results[0], seen)


@pytest.mark.parametrize("race", [by_as_completed, by_wait, by_queue, by_lock, by_maps])
def test_a_resumed_run_sees_its_threads_come_in_the_same_order(
    machine: Machine, race: Callable[[Callable[[int], int], Callable[[int], None]], None]
) -> None:
    """What came first, second and third on threads decides the next calls: none of them is another after a failure."""
    turns = {n: threading.Event() for n in ORDER}
    turns[ORDER[0]].set()

    @step(retry=None)
    def ask(n: int) -> int:
        assert turns[n].wait(60)
        machine.ran.append(f"ask {n}")
        return n

    @step(retry=None)
    def note(so_far: list[int]) -> None:
        machine.ran.append(f"note {so_far}")
        if len(so_far) < len(ORDER):
            turns[ORDER[len(so_far)]].set()

    @step(retry=None)
    def last() -> None:
        if "failed" not in machine.ran:
            machine.ran.append("failed")
            raise Trouble

    @workflow
    def main() -> list[int]:
        order: list[int] = []

        def seen(n: int) -> None:
            order.append(n)
            note(list(order))

        race(ask, seen)
        last()
        return order

    with pytest.raises(Trouble):
        main()
    before = list(machine.ran)
    assert main() == list(ORDER)
    assert machine.ran == before


def test_steps_that_end_at_the_same_moment_come_one_after_the_other(machine: Machine) -> None:
    """The workflow has seen one result, and rests, before the next one comes: no record says that it saw both."""
    together = threading.Barrier(4)

    @step(retry=None)
    def ask(n: int) -> int:
        together.wait(60)
        return n

    @workflow
    def main() -> list[int]:
        at_once = []
        with ThreadPoolExecutor(4) as pool:
            for turn in range(10):
                left = {pool.submit(ask, 4 * turn + n) for n in range(4)}
                while left:
                    done, left = wait(left, return_when=FIRST_COMPLETED)
                    at_once.append(len(done))
        return at_once

    assert main() == [1] * 40


def test_a_thread_that_computes_holds_up_nobody_for_long(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is between its steps without resting is waited for once, not for each result of the others."""
    monkeypatch.setattr(moving_threads, "MOVING_SECONDS", 0.01)
    over = threading.Event()

    @step(retry=None)
    def work(n: int) -> int:
        return n

    @workflow
    def main() -> int:
        def compute() -> None:
            work(-1)
            while not over.is_set():
                pass

        thread = threading.Thread(target=compute)
        thread.start()
        try:
            return sum(work(n) for n in range(20))
        finally:
            over.set()
            thread.join()

    assert main() == 190


def by_a_lock(call: Callable[[], int]) -> None:
    """Each waits for a lock that is held during a step."""
    lock = threading.Lock()

    def one() -> None:
        for _ in range(3):
            with lock:
                call()

    _together(one, one, one)


def by_a_simple_queue(call: Callable[[], int]) -> None:
    """One waits in C code for what the other sends, and back."""
    there: SimpleQueue[int] = SimpleQueue()
    back: SimpleQueue[int] = SimpleQueue()
    _answer(call, there.put, there.get, back.put, back.get)


def by_sockets(call: Callable[[], int]) -> None:
    """One waits for what the other sends over a socket, and back."""
    one, other = socket.socketpair()
    with one, other:
        _answer(
            call,
            lambda n: one.sendall(bytes([n])),
            lambda: other.recv(1)[0],
            lambda n: other.sendall(bytes([n])),
            lambda: one.recv(1)[0],
        )


def by_pipes(call: Callable[[], int]) -> None:
    """The same by pipes of the system."""
    there, back = os.pipe(), os.pipe()
    try:
        _answer(
            call,
            lambda n: os.write(there[1], bytes([n])),
            lambda: os.read(there[0], 1)[0],
            lambda n: os.write(back[1], bytes([n])),
            lambda: os.read(back[0], 1)[0],
        )
    finally:
        for end in (*there, *back):
            os.close(end)


def by_looking_again(call: Callable[[], int]) -> None:
    """One looks again and again whether the other has come further."""
    done: list[int] = []

    def look() -> None:
        call()
        while len(done) < 3:
            time.sleep(0.001)
        call()

    _together(look, lambda: done.extend(call() for _ in range(3)))


def by_a_map(call: Callable[[], int]) -> None:
    """A map draws from a queue that another thread fills."""
    items: SimpleQueue[int | None] = SimpleQueue()

    @step(retry=None)
    def each(n: int) -> int:
        return n

    def fill() -> None:
        for n in range(4):
            call()
            items.put(n)
        items.put(None)

    _together(fill, lambda: each.map(iter(items.get, None), concurrency=2))


def by_copied_contexts(call: Callable[[], int]) -> None:
    """Threads in copied contexts meet at a barrier."""
    meet = threading.Barrier(2)

    def one() -> None:
        for _ in range(3):
            call()
            meet.wait(60)

    _together(*(partial(contextvars.copy_context().run, one) for _ in range(2)))


def _answer(
    call: Callable[[], int], ask: Callable[[int], object], asked: Callable[[], int], *answer: Callable[..., object]
) -> None:
    tell, told = answer

    def server() -> None:
        for _ in range(3):
            asked()
            tell(call() % 100)

    def client() -> None:
        for _ in range(3):
            ask(call() % 100)
            told()

    _together(server, client)


def _together(*functions: Callable[[], object]) -> None:
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    "wait",
    [by_a_lock, by_a_simple_queue, by_sockets, by_pipes, by_looking_again, by_a_map, by_copied_contexts],
)
def test_threads_that_wait_for_each_other_out_of_sight_do_not_stand_still(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, wait: Callable[[Callable[[], int]], None]
) -> None:
    """However a thread waits for another one, it is seen to: no call waits until it is given up on."""
    monkeypatch.setattr(moving_threads, "STUCK_SECONDS", 3600.0)
    monkeypatch.setattr(moving_threads, "MOVING_SECONDS", 3600.0)
    calls: list[int] = []

    @step(retry=None)
    def number(n: int) -> int:
        return n

    def call() -> int:
        calls.append(len(calls))
        return number(calls[-1])

    @workflow
    def main() -> None:
        wait(call)

    main()
    assert len(calls) >= 4
