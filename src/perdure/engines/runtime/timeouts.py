"""Timeouts that really stop, one way for each place that code can run in.

- async code is cancelled, again if it swallows the cancellation, and abandoned if it goes on regardless (`bounded`);
- sync code on the main thread is interrupted by a signal, also inside a blocking call (`interrupted_after`);
  what cleans up then is let be for a while;
- sync code in a pool thread cannot be stopped: the thread is left to itself and what it comes back with is discarded
  (`Ticket`, `Monitor`).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps each call in an enum: 7 us a step
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from perdure.config.steady_clock import steady
from perdure.core.durations import show
from perdure.engines.runtime.alarm_backstop import backstop
from perdure.errors import StepTimeout

if TYPE_CHECKING:
    import asyncio

MAIN = threading.main_thread().ident
HAS_ALARM = hasattr(_signal, "setitimer")
AGAIN = 1.0
"""Seconds until code that swallowed an interruption is interrupted again."""
GRACE = 10.0
"""Seconds at most that code which was interrupted may take to clean up."""
SOON = 0.000_005
"""Seconds until code that goes on although its grace is over is interrupted again: doubled seven times, and anew."""
NOT_BEGUN: Any = object()
LOOK = 0.02
"""Seconds until a coroutine that is let be is looked at again."""


def timed_out(owner: str, seconds: float) -> StepTimeout:
    """The error for an attempt that ran out of time."""
    return StepTimeout(
        f"{owner} did not finish within {show(seconds)}",
        "give it more time with timeout=, or find out what it waits for: give every call to the outside a timeout",
    )


def broken_off(owner: str) -> StepTimeout:
    """The error for an attempt that the timeout of its run has ended."""
    return StepTimeout(
        f"{owner} does not finish before the time of its run is over",
        "give the workflow more time with timeout=, or find out what took so long: perdure show RUN",
    )


def on_main_thread() -> bool:
    """Is this the thread that signals interrupt?"""
    return HAS_ALARM and threading.get_ident() == MAIN


# -- sync code on the main thread ---------------------------------------------------------------------------------


class _Expired(BaseException):
    """Raised inside the step. Not an Exception: an `except Exception` in it must not swallow the timeout."""


class Interruption:
    """An interruption of code on the main thread, and what that code does about it.

    A loop with a bare `except` drops each interruption that comes inside of its `try`. So, after its grace, code is
    interrupted again so soon that one comes before the next round has begun, where nothing catches it.
    """

    __slots__ = ("_error", "_since", "times")

    def __init__(self) -> None:
        self.times = 0
        self._error: BaseException | None = None
        self._since = 0.0

    def of(self, error: BaseException) -> BaseException | None:
        """What is to be raised in the code that runs: `error`; None while it cleans up after the one before.

        To be asked in a signal handler. Code is cleaning up while the error that was raised is being handled, in a
        `finally`, an `except` or an `__exit__`. If it has dropped the error, it is interrupted again at once.
        """
        now = steady()
        if self._error is None:
            self._since = now
        elif now - self._since < GRACE and _is_handled(self._error):
            return None
        self.times += 1
        self._error = error
        return error

    @property
    def pause(self) -> float | None:
        """Seconds until the next one, if the code that was interrupted has had its time to clean up."""
        if self._error is None or steady() - self._since < GRACE:
            return None
        return float(SOON * 2 ** (self.times % 8))


def _is_handled(error: BaseException) -> bool:
    handled = sys.exception()
    while handled is not None and handled is not error:
        handled = handled.__context__
    return handled is not None


class _Alarm:
    def __init__(self) -> None:
        self.armed = False
        self.interruption = Interruption()
        self.handler = self._fire  # one object, so that it can be compared by identity

    def _fire(self, signum: int, frame: Any) -> None:
        if not self.armed or (frame is not None and frame.f_code is _CALLER):
            return  # the step's function is over
        error = self.interruption.of(_Expired())
        if signum == _signal.SIGALRM and (pause := self.interruption.pause) is not None:
            _signal.setitimer(_signal.ITIMER_REAL, pause, AGAIN)
        if error is not None:
            raise error


_alarm = _Alarm()


def interrupted_after(
    seconds: float, owner: str, fn: Callable[..., Any], args: Any, kwargs: Any, *, sure: bool = True
) -> Any:
    """Call `fn` on the main thread; a signal interrupts it, also inside a blocking system call.

    A handler or timer of the program's own (setitimer, alarm) is put back afterwards, with what is left of its time.
    What cleans up after the interruption is let be for `GRACE` seconds.

    Args:
        seconds: how long it may take.
        owner: whose function it is, for the error.
        fn: what is called, with `args` and `kwargs`.
        sure: it is also stopped if it takes the alarm for itself, which takes a thread.

    Raises:
        StepTimeout: it ran out of time.
    """
    alarm = _alarm
    theirs = _signal.getsignal(_signal.SIGALRM)
    if theirs is not alarm.handler:
        _signal.signal(_signal.SIGALRM, alarm.handler)
    if alarm.interruption.times:
        alarm.interruption = Interruption()
    left = interval = began = 0.0
    guard = backstop() if sure else None
    depth = None
    try:
        if guard is not None:
            depth = guard.enter(seconds, alarm.handler)
        alarm.armed = True
        left, interval = _signal.setitimer(_signal.ITIMER_REAL, seconds, AGAIN)
        if left:
            began = steady()
        value = fn(*args, **kwargs)
        alarm.armed = False
    except _Expired:
        alarm.armed = False
        raise _late(alarm, owner, seconds) from None
    except BaseException as error:
        alarm.armed = False
        if alarm.interruption.times and isinstance(error, Exception):
            raise _late(alarm, owner, seconds) from error  # its clean-up failed, because it was interrupted
        raise
    finally:
        alarm.armed = False
        if guard is not None and depth is not None:
            guard.leave(depth)
        if left:
            left = max(left - (steady() - began), 0.000_001)
        _signal.setitimer(_signal.ITIMER_REAL, left, interval)
        if theirs is not alarm.handler and theirs is not None:
            _signal.signal(_signal.SIGALRM, theirs)
    if alarm.interruption.times:
        raise timed_out(owner, seconds)  # it swallowed the interruption, and is late all the same
    return value


_CALLER = interrupted_after.__code__


def _late(alarm: _Alarm, owner: str, seconds: float) -> StepTimeout:
    error = timed_out(owner, seconds)
    if alarm.interruption.times > 1:
        from perdure.core.exceptions import notes

        notes.add(error, f"perdure: it was interrupted again {show(GRACE)} later, in a `finally` or an `except`")
    return error


# -- async code ---------------------------------------------------------------------------------------------------


class bounded:  # noqa: N801  used like a function: `await bounded(...)`
    """Await a coroutine in the same task, and stop it when its time is over.

    It is cancelled as `asyncio.timeout` does it. One that goes on (it cleans up, or swallows the cancellation) is
    cancelled once more after `GRACE` seconds and closed after as many again; whatever it comes back with then, the
    attempt has timed out (`asyncio.wait_for` would return late and raise nothing). As long as `unless` says so, it is
    let be. `waited_for` is what a coroutine has yielded that was begun already, without `seconds` there is no bound.

    Raises:
        StepTimeout: it ran out of time.
    """

    __slots__ = ("_coroutine", "_expired", "_owner", "_seconds", "_task", "_timer", "_unless", "_waited_for")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        seconds: float | None,
        owner: str,
        unless: Callable[[], bool] | None = None,
        waited_for: Any = NOT_BEGUN,
    ) -> None:
        self._coroutine = coroutine
        self._waited_for = waited_for
        self._seconds = seconds
        self._owner = owner
        self._unless = unless
        self._expired = 0
        self._timer: asyncio.TimerHandle | None

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, waited_for = self._coroutine, self._waited_for
        if waited_for is NOT_BEGUN:
            try:
                waited_for = coroutine.send(None)
            except StopIteration as end:
                return end.value  # it never waited for anything: no timer was needed
        import asyncio

        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        self._timer = None if self._seconds is None else loop.call_later(self._seconds, self._expire, loop)
        try:
            while True:
                try:
                    answer = yield waited_for
                except GeneratorExit:
                    coroutine.close()
                    raise
                except BaseException as thrown:
                    if self._expired > 2:
                        coroutine.close()  # GeneratorExit inside; a RuntimeError if it ignores even that
                        raise
                    waited_for = coroutine.throw(thrown)
                else:
                    waited_for = coroutine.send(answer)
        except StopIteration as end:
            if self._expired:
                self._raise_timeout(None)
            return end.value
        except (asyncio.CancelledError, Exception) as error:
            if self._expired:
                self._raise_timeout(error)
            raise
        except BaseException:
            # What stops the run comes at the same moment: it must not look as if the task were cancelled from outside.
            self._take_back()
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._task = None  # it may end with this error, whose traceback leads here

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._unless is not None and self._unless():
            self._timer = loop.call_later(LOOK, self._expire, loop)
            return
        self._expired += 1
        assert self._task is not None
        self._task.cancel()
        self._timer = loop.call_later(GRACE, self._expire, loop)

    def _raise_timeout(self, error: BaseException | None) -> None:
        import asyncio

        if self._take_back() > 0:
            raise error if isinstance(error, asyncio.CancelledError) else asyncio.CancelledError()
        assert self._seconds is not None
        raise timed_out(self._owner, self._seconds) from (error if isinstance(error, Exception) else None)

    def _take_back(self) -> int:
        """Take back the cancellations that this has asked for; how many others there are."""
        assert self._task is not None
        for _ in range(self._expired):
            self._task.uncancel()
        return self._task.cancelling()


# -- sync code in a pool thread -----------------------------------------------------------------------------------


class Abandoned(BaseException):
    """This thread came back too late; another goes on in its place."""


class Ticket:
    """An attempt that runs in a pool thread. Either the thread or the monitor ends it, whichever is first."""

    __slots__ = ("_first", "deadline", "on_expiry")

    def __init__(self, seconds: float, on_expiry: Callable[[], None]) -> None:
        self.deadline = steady() + seconds
        self.on_expiry = on_expiry
        self._first = [True]

    def claim(self) -> bool:
        """Whether the caller is the first to end the attempt. Popping from a list is atomic."""
        try:
            return self._first.pop()
        except IndexError:
            return False


class Monitor:
    """Watches the deadlines of all pool threads, from a thread of its own that mostly sleeps."""

    def __init__(self) -> None:
        self._tickets: dict[int, Ticket] = {}
        self._next = float("inf")
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def add(self, ticket: Ticket) -> None:
        """Watch a ticket."""
        self._tickets[id(ticket)] = ticket
        if ticket.deadline < self._next:
            with self._lock:
                self._next = min(self._next, ticket.deadline)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._watch, name="perdure-deadlines", daemon=True)
                    self._thread.start()
            self._wake.set()

    def remove(self, ticket: Ticket) -> None:
        """The attempt has ended."""
        self._tickets.pop(id(ticket), None)

    def _watch(self) -> None:
        while True:
            self._wake.wait(min(self._next - steady(), threading.TIMEOUT_MAX) if self._next < float("inf") else None)
            self._wake.clear()
            now = steady()
            with self._lock:
                self._next = float("inf")
            for ticket in list(self._tickets.values()):
                if ticket.deadline <= now:
                    self.remove(ticket)
                    if ticket.claim():
                        ticket.on_expiry()
                elif ticket.deadline < self._next:
                    with self._lock:
                        self._next = min(self._next, ticket.deadline)
