"""Threads where there is no /proc, as on macOS: on a busy machine, one that gets no processor is not taken to rest."""

from __future__ import annotations

from types import FrameType

import pytest

from perdure.engines.runtime import moving_threads, thread_states
from perdure.engines.runtime.thread_states import UNSEEN_LOOKS, Sleepers

NATIVE = 1


class Clock:
    """Real time that passes, and the processor time of the process."""

    def __init__(self) -> None:
        self.now = self.process = 0.0

    def monotonic(self) -> float:
        """What a clock shows."""
        return self.now

    def process_time(self) -> float:
        """What the process has had."""
        return self.process


@pytest.fixture
def frame() -> FrameType:
    """Where a thread stands that does not come further."""
    standing = (n for n in ())
    found: FrameType = standing.gi_frame
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (thread_states, moving_threads):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(thread_states, "slept", lambda native: None)
    monkeypatch.setattr(thread_states, "_syscall", lambda native: [])
    monkeypatch.setattr(moving_threads, "processor_seconds", lambda native: None)
    return clock


def test_a_thread_rests_when_it_was_looked_at_often_and_has_not_come_further(clock: Clock, frame: FrameType) -> None:
    """Time alone says nothing: who looked only twice may have waited for a processor for as long."""
    sleepers = Sleepers()
    assert not sleepers.sleeps(NATIVE, frame)
    clock.now = 1.0
    looks = 0
    while not sleepers.sleeps(NATIVE, frame):
        looks += 1
        assert looks < 1_000
    assert looks == UNSEEN_LOOKS


def test_looks_alone_do_not_make_a_thread_rest(clock: Clock, frame: FrameType) -> None:
    """Many looks in no time are no rest either: the thread had no chance to run."""
    sleepers = Sleepers()
    assert not any(sleepers.sleeps(NATIVE, frame) for _ in range(10 * UNSEEN_LOOKS))


def test_a_thread_that_gets_no_processor_is_waited_for(clock: Clock) -> None:
    """It has computed for too long when the process has had that much, whatever a clock shows."""
    moving = moving_threads.Moving(NATIVE, 0)
    sleepers = Sleepers()
    for seconds in (0.02, 1.0, 5.0):
        clock.now = seconds
        assert not moving.for_too_long(sleepers, in_call=False)
    clock.process = moving_threads.MOVING_SECONDS
    assert moving.for_too_long(sleepers, in_call=False)


@pytest.mark.parametrize("in_loop", [False, True])
def test_a_thread_that_naps_is_not_waited_for_but_a_loop_is(clock: Clock, in_loop: bool) -> None:
    """A loop sleeps until what it has to let come is durable, say: it does not look for something again and again."""
    moving = moving_threads.Moving(NATIVE, 0)
    sleepers = Sleepers()
    sleepers.naps = lambda native: True  # type: ignore[method-assign]
    clock.now = 1.0
    looks = [moving.for_too_long(sleepers, in_call=False, in_loop=in_loop) for _ in range(20)]
    assert looks[-1] is not in_loop
