"""What code on the main thread does after it was interrupted, and what interrupts it although it takes the alarm."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import pytest
from test_timeouts import SHORT, ahang, hang, run

from conftest import Machine
from perdure import step, workflow
from perdure.engines.runtime import alarm_backstop, timeouts
from perdure.errors import DeadlineExceeded, StepTimeout
from waiting import until


class Asked:
    """How often an interruption was considered, since the alarm rings again and again, and how often it was made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = self.made = 0
        of = timeouts.Interruption.of

        def counted(interruption: timeouts.Interruption, error: BaseException) -> BaseException | None:
            self.times += 1
            found = of(interruption, error)
            self.made += found is not None
            return found

        monkeypatch.setattr(timeouts.Interruption, "of", counted)
        monkeypatch.setattr(timeouts, "AGAIN", 0.01)

    def again(self) -> None:
        """Return when the alarm has rung three times more."""
        before = self.times
        until(lambda: self.times >= before + 3)


def test_a_clean_up_after_a_timeout_comes_to_its_end(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `finally`, in `except`, in a context manager, and with errors of its own on the way."""
    asked, ends = Asked(monkeypatch), list[str]()

    class Held:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            asked.again()
            ends.append("exit")

    def work() -> None:
        try:
            with Held():
                hang()
        except BaseException:
            try:
                raise LookupError("the clean-up's own")
            except LookupError:
                asked.again()
            ends.append("except")
            raise
        finally:
            asked.again()
            ends.append("finally")

    with pytest.raises(StepTimeout) as caught:
        run(work, timeout=SHORT)
    assert ends == ["exit", "except", "finally"]
    assert not [note for note in caught.value.__notes__ if "interrupted again" in note]


def test_a_dropped_interruption_comes_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: to go on as if nothing had happened is no clean-up."""
    asked, dropped = Asked(monkeypatch), 0

    def stubborn() -> None:
        nonlocal dropped
        while dropped < 3:
            try:
                hang()
            except BaseException:
                dropped += 1

    with pytest.raises(StepTimeout):
        run(stubborn, timeout=SHORT)
    assert dropped > 0
    assert asked.made > dropped or dropped == 3  # the next one may come between two waits, where nothing drops it


@pytest.mark.parametrize("whole", [False, True], ids=["step", "workflow"])
def test_a_loop_that_drops_every_interruption_is_ended(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    """Its grace over, it is interrupted again so soon that nothing has begun that would catch it."""
    # What is interrupted may be a finaliser, or pytest that notes what one has raised.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    monkeypatch.setattr(timeouts, "GRACE", 0.0)
    monkeypatch.setattr(timeouts, "AGAIN", 0.01)
    dropped = 0

    def stubborn() -> None:
        nonlocal dropped
        while dropped < 20_000:
            try:
                hang()
            except BaseException:
                dropped += 1
                continue

    if whole:
        with pytest.raises(DeadlineExceeded):
            workflow(stubborn, name="stubborn", timeout=SHORT)()
    else:
        with pytest.raises(StepTimeout):
            run(stubborn, timeout=SHORT)
    assert 0 < dropped < 20_000
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_clean_up_without_end_is_cut_off_with_a_note(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the grace; what was cut off is said."""
    Asked(monkeypatch)
    monkeypatch.setattr(timeouts, "GRACE", 0.0)

    def work() -> None:
        try:
            hang()
        finally:
            hang()

    with pytest.raises(StepTimeout) as caught:
        run(work, timeout=SHORT)
    assert [note for note in caught.value.__notes__ if "interrupted again" in note]


def test_a_cancelled_coroutine_has_the_grace_whatever_its_timeout(machine: Machine) -> None:
    """A clean-up that takes longer than the timeout itself is not cancelled."""
    ends = []

    async def work() -> None:
        try:
            await ahang()
        finally:
            for _ in range(3):
                loop = asyncio.get_running_loop()
                passed = loop.create_future()
                loop.call_later(0.1, passed.set_result, None)
                await passed
            ends.append("closed")

    with pytest.raises(StepTimeout):
        run(work, timeout=SHORT)
    assert ends == ["closed"]


def _switched_off() -> None:
    signal.alarm(0)


def _a_library() -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(30)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _kept_handler() -> None:
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 3600)


@pytest.mark.parametrize("library", [_switched_off, _a_library, _kept_handler])
def test_a_library_that_takes_the_alarm_does_not_take_the_timeout(machine: Machine, library: Any) -> None:
    """However it leaves the timer and the handler of SIGALRM."""
    before = signal.getsignal(signal.SIGALRM)

    def work() -> None:
        library()
        hang()

    try:
        with pytest.raises(StepTimeout):
            run(work, timeout=SHORT)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_library_that_takes_the_alarm_does_not_take_the_deadline(machine: Machine) -> None:
    """The same in the workflow's own code."""
    from test_deadlines import real

    real(machine)

    @workflow(timeout="200ms")
    def flow() -> None:
        _a_library()
        hang()

    with pytest.raises(DeadlineExceeded):
        flow()


def test_the_clean_up_of_a_workflow_after_its_deadline_comes_to_its_end(machine: Machine) -> None:
    """The signal comes again every 20 ms, for code that could not be interrupted."""
    from test_deadlines import real

    real(machine)
    ends = []
    rung: list[int] = []

    @workflow(timeout="200ms")
    def flow() -> None:
        try:
            hang()
        finally:
            for _ in range(3):
                signal.raise_signal(signal.SIGALRM)
                rung.append(1)
            ends.append("closed")

    with pytest.raises(DeadlineExceeded):
        flow()
    assert (ends, len(rung)) == (["closed"], 3)


def test_a_step_inside_leaves_the_deadline_outside_in_force(machine: Machine) -> None:
    """Deadlines are nested: after a step with a timeout of its own, that of the run still holds."""
    guard = alarm_backstop.backstop()

    @step(timeout="1h")
    def work() -> int:
        return len(guard._deadlines)

    @workflow(timeout="2h")
    def flow() -> list[int]:
        return [len(guard._deadlines), work(), len(guard._deadlines)]

    assert flow() == [1, 2, 1]
    assert guard._deadlines == []
